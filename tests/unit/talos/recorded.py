"""Recorded answers of real nodes and a runner that replays them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bootstrap.host.commands import Command, CommandError, MemoryFile, Result

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures" / "talos"


@dataclass(frozen=True)
class Recording:
    """What talosctl answered: exit code 124 means that the recorder's time limit ended it."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass
class Replay:
    """A runner that gives recordings, one a call, and keeps the commands."""

    recordings: list[Recording]
    asked: list[Command] = field(default_factory=list)
    secrets: list[bytes] = field(default_factory=list)

    def run(self, command: Command) -> Result:
        """The next recording."""
        self.asked.append(command)
        self.secrets += [each.secret.reveal() for each in command.arguments if isinstance(each, MemoryFile)]
        recording = self.recordings.pop(0)
        if recording.exit_code == 0:
            return Result(0, recording.stdout.encode(), recording.stderr.encode(), 0.1)
        timed_out = recording.exit_code == 124
        raise CommandError(
            "it failed",
            cause="as recorded",
            stdout=recording.stdout,
            stderr=recording.stderr,
            exit_code_seen=None if timed_out else recording.exit_code,
            timed_out=timed_out,
        )


def read_recording(path: Path) -> Recording:
    """A recording as the recorder wrote it: command, exit code, seconds, stdout, stderr."""
    head, _, rest = path.read_text().partition("--- stdout\n")
    stdout, _, stderr = rest.partition("--- stderr\n")
    exit_code = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("exit:"))
    return Recording(exit_code, stdout, stderr)
