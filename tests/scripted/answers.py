"""What a program says, and recordings of it with other names put in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inventory.model import Role
from tests.unit.talos.recorded import FIXTURES, read_recording

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.host.commands import Command
    from tests.scripted.ports import Machine

# What nobody could record, in the form of a recording: texts from the sources of the programs.
MADE = Path(__file__).with_name("made")
# The node of the recordings.
_ADDRESS = "10.5.0.11"
_NAME = "cp1"
# The address at which the recordings found no machine.
_NOBODY = "10.5.0.77"
# The exit code of a recording that the recorder's own time limit ended.
_CUT = 124


@dataclass(frozen=True)
class Answer:
    """What a program says; no exit code stands for one that never answers."""

    exit_code: int | None = 0
    stdout: str = ""
    stderr: str = ""


@cache
def recorded(name: str, address: str, host: str = _NAME) -> Answer:
    """What a real node said, as the node of this name and address."""
    folder = FIXTURES / ("errors" if "--" in name else "answers")
    recording = read_recording((MADE if name.startswith("made-") else folder) / f"{name}.txt")
    stdout = table(recording.stdout, {_ADDRESS: address, _NAME: host})
    stderr = recording.stderr.replace(_ADDRESS, address).replace(_NOBODY, address)
    return Answer(None if recording.exit_code == _CUT else recording.exit_code, stdout, stderr)


def services(machine: Machine, *, is_healthy: bool) -> str:
    """`talosctl service`: of a node on which everything runs, or of one that waits for a bootstrap."""
    name = "09-running-service" if is_healthy or machine["role"] == Role.WORKER.value else "05-before-bootstrap-service"
    lines = recorded(name, machine["address"], machine["name"]).stdout.splitlines()
    if machine["role"] == Role.WORKER.value:
        lines = [line for line in lines if line.split()[1] not in {"etcd", "trustd"}]
    elif machine["etcd"] in {"learner", "running"} and not is_healthy:
        # A member without a leader, or one that does not vote yet, fails its health check.
        state = f"{machine['address']}   etcd   Running   Fail   1s ago   context deadline exceeded"
        lines = [state if line.split()[1] == "etcd" else line for line in lines]
    return table("\n".join(lines), {})


def members(machine: Machine, found: Iterable[dict[str, Any]]) -> str:
    """`talosctl etcd members`."""
    header, row = recorded("06-bootstrapping-etcd-members", "ADDRESS", "NAME").stdout.splitlines()
    _, _, name, peer, client, _ = re.split(r" {2,}", row)
    rows = [
        "   ".join((
            machine["address"], one["id"], name.replace("NAME", one["name"]), peer.replace("ADDRESS", one["address"]),
            client.replace("ADDRESS", one["address"]), str(one["learner"]).lower(),
        ))
        for one in found
    ]  # fmt: skip
    return table("\n".join((header, *rows)), {})


def folder(machine: Machine) -> str:
    """`talosctl list /var/lib/etcd`."""
    lines = recorded("10-list", machine["address"]).stdout.splitlines()
    return table("\n".join(lines if machine["data"] else lines[:-1]), {})


def kernel_log(machine: Machine) -> str:
    """`talosctl dmesg`."""
    return "".join(f"{machine['address']}: {line}\n" for line in machine["console"])


def clock(machine: Machine) -> str:
    """`talosctl time`: the machine's own clock is off, the server's is right."""
    (header, row), now = recorded("09-running-time", machine["address"]).stdout.splitlines(), datetime.now(UTC)
    address, server, *_ = re.split(r" {2,}", row)
    times = (f"{moment:%Y-%m-%d %H:%M:%S.%f}000 +0000 UTC" for moment in (now + _offset(machine), now))
    return table("\n".join((header, "   ".join((address, server, *times)))), {})


def _offset(machine: Machine) -> timedelta:
    return timedelta(seconds=float(machine["clock"]))


def table(text: str, names: dict[str, str]) -> str:
    """A table of talosctl with other names, its columns as wide as they then must be."""
    rows = [re.split(r" {2,}", line.rstrip()) for line in text.splitlines()]
    for old, new in names.items():
        rows = [[cell.replace(old, new) for cell in row] for row in rows]
    count = max(map(len, rows), default=0)
    widths = [max(len(row[column]) for row in rows if len(row) > column) for column in range(count)]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    return "".join(f"{line}\n" for line in lines)


def unknown(command: Command) -> AssertionError:
    """A command that this world has no answer to."""
    return AssertionError(f"nobody wrote an answer to `{command}`")
