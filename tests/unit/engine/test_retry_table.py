"""Every error class of every program and API has a row, and every row has a class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine.failures import LOCAL, LOCAL_FAILURES, NETWORKED, ProgramFailure, error_class
from bootstrap.engine.meter import Meter, MeteredCommandRunner
from bootstrap.engine.retry import row_of
from bootstrap.engine.retry_table import TABLE, Again
from bootstrap.engine.testing import FakeClock
from bootstrap.host.commands import Command, CommandError
from bootstrap.host.errors import FirstlightError
from bootstrap.host.programs import Use, names_for
from inventory.connect import ConnectFailure
from inventory.secrets import Unresolvable
from kube.errors import KubeError, KubeErrorKind, from_status
from talos.errors import Kind, TalosError

if TYPE_CHECKING:
    from bootstrap.host.commands import Result

# Programs that a run starts beside those of the registry, which pins what it can.
FROM_THE_SYSTEM = {"git", "op"}
# helm is run by helmfile alone, whose words are then helm's; kubectl is there for people.
NOT_STARTED_BY_A_RUN = {"helm", "kubectl"}

CLASSES = {
    *(TalosError("x", kind=kind, text="").error_class for kind in Kind),
    *(KubeError(kind, "x", cause="").error_class for kind in KubeErrorKind),
    *(failure.error_class for failure in ConnectFailure),
    *(f"{program}/{failure}" for program in NETWORKED for failure in ProgramFailure),
    *(f"{program}/{failure}" for program in LOCAL for failure in LOCAL_FAILURES),
}


def test_every_class_has_a_row() -> None:
    assert set(TABLE) >= CLASSES


def test_no_row_is_orphaned() -> None:
    assert set(TABLE) <= CLASSES


def test_every_program_of_a_run_has_rows() -> None:
    started = {*names_for(Use.OPERATOR), *FROM_THE_SYSTEM} - NOT_STARTED_BY_A_RUN
    assert started == set(NETWORKED + LOCAL)


def test_every_row_has_a_reason_that_reads_on() -> None:
    assert [
        row.reason for row in TABLE.values() if not row.reason or row.reason[-1] == "." or row.reason[1].isupper()
    ] == []


@pytest.mark.parametrize("kind", [Kind.ALREADY_EXISTS, Kind.FOREIGN, Kind.INVALID_CONFIG, Kind.UNKNOWN])
def test_what_a_second_bootstrap_must_not_follow(kind: Kind) -> None:
    assert row_of(TalosError("x", kind=kind, text="")).again is Again.NEVER


def test_a_lost_answer_may_have_had_its_effect() -> None:
    assert row_of(TalosError("x", kind=Kind.TIMED_OUT, text="")).effect
    assert not row_of(TalosError("x", kind=Kind.REFUSED, text="")).effect
    assert row_of(KubeError(KubeErrorKind.CUT_OFF, "x", cause="")).effect


@pytest.mark.parametrize(
    ("status", "again"),
    [
        (429, Again.SOON),
        (500, Again.SOON),
        (503, Again.SOON),
        (403, Again.NEVER),
        (409, Again.NEVER),
        (410, Again.LATER),
    ],
)
def test_what_an_api_server_answers(status: int, again: Again) -> None:
    assert row_of(from_status(status, b"", what="x", retry_after="3")).again is again


def test_what_an_api_server_asks_for_is_kept() -> None:
    assert from_status(429, b"", what="x", retry_after="3").retry_after == 3.0
    assert Unresolvable("x", error_class="connect/throttled", retry_after=2.0).retry_after == 2.0


WORDS = [
    ("helmfile", 'Error: Get "https://helm.cilium.io/index.yaml": dial tcp: no such host', "network"),
    ("helmfile", 'Error: GET "https://ghcr.io/v2/x": response status code 429: toomanyrequests', "throttled"),
    ("helmfile", "Error: unexpected status code 503: Service Unavailable", "unavailable"),
    ("helmfile", "Error: response status code 401: unauthorized: authentication required", "denied"),
    ("helmfile", "Error: Kubernetes cluster unreachable: dial tcp 10.25.11.1:6443: i/o timeout", "network"),
    ("helmfile", "in 01-core.yaml.gotmpl: template: stringTemplate:500: unexpected {{end}}", "failed"),
    ("helmfile", "Error: values don't meet the schema: port must be less than 503", "failed"),
    ("git", "fatal: unable to access 'https://github.com/x/': Could not resolve host: github.com", "network"),
    ("git", "fatal: unable to access 'https://x/': The requested URL returned error: 503", "unavailable"),
    ("git", "fatal: could not read Username for 'https://github.com': terminal prompts disabled", "denied"),
    ("git", "git@github.com: Permission denied (publickey).", "denied"),
    ("git", "fatal: couldn't find remote ref refs/heads/gone", "failed"),
    ("op", '[ERROR] 2026/01/02 Post "https://my.1password.com": net/http: TLS handshake timeout', "network"),
    ("op", '[ERROR] 2026/01/02 "lab" is no vault in this account', "failed"),
    ("kustomize", "Error: accumulating resources: connection refused", "failed"),
]


@pytest.mark.parametrize(("program", "words", "failure"), WORDS)
def test_a_programs_last_words_tell_its_class(program: str, words: str, failure: str) -> None:
    failed = CommandError("x", cause="", stderr=words, exit_code_seen=1)
    assert error_class(program, failed) == f"{program}/{failure}"


def test_a_program_without_words_tells_its_class_too() -> None:
    assert error_class("git", CommandError("x", cause="", timed_out=True)) == "git/timed_out"
    assert error_class("yq", CommandError("x cannot be started", cause="")) == "yq/no_code"
    assert error_class("qemu", CommandError("x", cause="", exit_code_seen=1)) == ""


def test_errors_of_metered_programs_name_their_class() -> None:
    class Failing:
        def run(self, _command: Command) -> Result:
            raise CommandError("x", cause="Could not resolve host", exit_code_seen=128)

    with pytest.raises(FirstlightError) as caught:
        MeteredCommandRunner(Failing(), Meter(FakeClock())).run(Command(Path("/usr/bin/git")))
    assert caught.value.error_class == "git/network"
