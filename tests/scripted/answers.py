"""What a program says, and recordings of it with other names put in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.unit.talos.recorded import FIXTURES, read_recording

if TYPE_CHECKING:
    from bootstrap.host.commands import Command

# The node of the recordings.
_ADDRESS = "10.5.0.11"
_NAME = "cp1"
# The exit code of a recording that the recorder's own time limit ended.
_CUT = 124


@dataclass(frozen=True)
class Answer:
    """What a program says; no exit code stands for one that never answers."""

    exit_code: int | None = 0
    stdout: str = ""
    stderr: str = ""


def recorded(name: str, address: str, host: str = _NAME) -> Answer:
    """What a real node said, as the node of this name and address."""
    folder = "errors" if "--" in name else "answers"
    recording = read_recording(FIXTURES / folder / f"{name}.txt")
    stdout = table(recording.stdout, {_ADDRESS: address, _NAME: host})
    return Answer(
        None if recording.exit_code == _CUT else recording.exit_code,
        stdout,
        recording.stderr.replace(_ADDRESS, address),
    )


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
