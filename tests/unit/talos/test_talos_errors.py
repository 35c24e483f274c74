"""Every error text that a real node was seen to give has its kind, which is the first part of its file's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import CommandError
from talos.errors import TABLE, Kind, classify, from_command, summary
from tests.unit.talos.recorded import FIXTURES, read_recording

if TYPE_CHECKING:
    from pathlib import Path

CASES = sorted((FIXTURES / "errors").glob("*.txt"))
# Texts of Talos' and Go's sources that no recording holds.
READ_IN_SOURCES = {
    "error applying: rpc error: code = Unimplemented desc = apply configuration --mode='no-reboot' is not supported"
    " in maintenance mode": Kind.MAINTENANCE,
    "rpc error: code = FailedPrecondition desc = bootstrap is not available yet": Kind.NOT_AVAILABLE_YET,
    "rpc error: code = PermissionDenied desc = no request forwarding": Kind.NOT_AUTHORIZED,
    'desc = "transport: authentication handshake failed: remote error: tls: unknown certificate authority"':
        Kind.FOREIGN,
    "authentication handshake failed: tls: failed to verify certificate: x509: certificate has expired or is not yet"
    " valid: current time 2020-01-01T00:00:00Z is before 2026-11-21T09:05:29Z": Kind.CERTIFICATE_DATES,
    "tls: failed to verify certificate: x509: certificate is valid for 10.5.0.11, not 10.5.0.12": Kind.WRONG_NAME,
    "Error while dialing: dial tcp 10.5.0.11:50000: i/o timeout": Kind.UNREACHABLE,
    "read tcp 10.5.0.1:1->10.5.0.11:50000: read: connection reset by peer": Kind.CUT_OFF,
    "rpc error: code = Unavailable desc = error reading from server: EOF": Kind.CUT_OFF,
    "rpc error: code = FailedPrecondition desc = another apply configuration is in progress": Kind.BUSY,
    'desc = "transport: authentication handshake failed: remote error: tls: expired certificate"':
        Kind.CERTIFICATE_DATES,
    "rpc error: code = DeadlineExceeded desc = context deadline exceeded": Kind.TIMED_OUT,
    "something new": Kind.UNKNOWN,
}  # fmt: skip


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_recorded_text(path: Path) -> None:
    assert classify(read_recording(path).stderr) == path.name.partition("--")[0]


@pytest.mark.parametrize(("text", "kind"), READ_IN_SOURCES.items(), ids=lambda value: str(value)[-30:])
def test_text_of_the_sources(text: str, kind: Kind) -> None:
    assert classify(text) is kind


def test_every_kind_has_a_text() -> None:
    recorded = {path.name.partition("--")[0] for path in CASES}
    seen = recorded | {kind.value for kind in READ_IN_SOURCES.values()}
    assert {kind.value for kind, _ in TABLE} - seen == {Kind.UNIMPLEMENTED.value}
    assert classify("rpc error: code = Unimplemented desc = unknown service") is Kind.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("not_in_sync--05-bootstrap-before-time-sync-again", "time is not in sync yet"),
        ("refused--04-during-install-get-machinestatus-1", "dial tcp 10.5.0.11:50000: connect: connection refused"),
        ("needs_client_certificate--06-insecure-version-on-configured", "remote error: tls: certificate required"),
        ("usage--09-running-no-nodes", "nodes are not set for the command: please use `--nodes` flag"),
        ("invalid_config--03-apply-broken-4", "cluster instructions are required"),
        ("wrong_role--13-worker-kubeconfig-from-worker", "kubeconfig is only available on control plane nodes"),
    ],
)
def test_the_summary_is_the_reason(case: str, expected: str) -> None:
    text = read_recording(FIXTURES / "errors" / f"{case}.txt").stderr
    assert summary(text).startswith(expected)


def test_a_call_that_was_ended_says_so_whatever_it_printed() -> None:
    error = CommandError("`talosctl` gave no answer within 10 s", cause="connection refused", timed_out=True)
    assert from_command(error, fact="asked").kind is Kind.TIMED_OUT


def test_the_cause_holds_meaning_and_words() -> None:
    text = read_recording(FIXTURES / "errors" / "not_in_sync--05-bootstrap-before-time-sync-again.txt").stderr
    error = from_command(CommandError("failed", cause="", stderr=text, exit_code_seen=1), fact="bootstrap failed")
    expected = "bootstrap failed: the node's clock is not in sync yet (time is not in sync yet)"
    assert str(error) == expected
