"""The lab ring: real Talos, real Kubernetes, real Flux, driven by the command that a person types."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from bootstrap.host.commands import Command, CommandError, Daemon, ShCommandRunner
from bootstrap.host.configuration import resolve
from bootstrap.host.secret import Redactor
from bootstrap.host.settings import CACHE
from rehearsal.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
# A whole run under emulation on a machine that tests other things meanwhile, and one with all releases of a cluster.
RUN_SECONDS = 1200.0
REHEARSAL_SECONDS = 2700.0


@dataclass(frozen=True)
class Ran:
    """What a command said."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class World:
    """The lab and the command line that drives it."""

    runner: ShCommandRunner = field(default_factory=lambda: ShCommandRunner(Redactor()))
    lab: Lab = field(default_factory=lambda: Lab(resolve({}, os.environ)[CACHE]))
    at: list[str] = field(default_factory=lambda: ["maintenance"])

    state: Path = ROOT / ".firstlight" / "lab"

    def invoke(self, *words: str, seconds: float = RUN_SECONDS) -> Ran:
        """Type a command; every exit code is an answer."""
        command = self.command(*words, seconds=seconds)
        try:
            result = self.runner.run(command)
        except CommandError as error:
            return Ran(-1 if error.exit_code_seen is None else error.exit_code_seen, error.stdout, error.stderr)
        return Ran(result.exit_code, result.text, result.stderr.decode("utf-8", "replace"))

    def start(self, log: Path, *words: str) -> Daemon:
        """Type a command and leave it running."""
        return self.runner.start(self.command(*words), log=log)

    def command(self, *words: str, seconds: float = RUN_SECONDS) -> Command:
        passed = {name: value for name, value in os.environ.items() if name != "FIRSTLIGHT_INSIDE_LAB"}
        arguments = ("-P", str(ROOT / "tasks.py"), *words)
        return Command(
            Path(sys.executable), arguments, passed, timeout=seconds, folder=ROOT, allowed=frozenset(range(256))
        )

    def shell(self, script: str) -> Ran:
        """Run a script inside the lab's network, as `lab.shell` does."""
        return self.invoke("lab.shell", "--command", script)

    def report(self) -> dict[str, Any]:
        """The newest run's report."""
        newest = max((self.state / "runs").iterdir(), key=lambda folder: folder.name)
        content: dict[str, Any] = json.loads((newest / "report.json").read_text())
        return content

    def console(self) -> str:
        """What the machine wrote to its serial port."""
        status = self.lab.status()
        return Path(str(status.machines[0]["console"])).read_text(errors="replace")

    def save(self, name: str) -> None:
        saved = self.invoke("lab.save", "--name", name)
        assert saved.exit_code == 0, saved.stderr
        self.at.append(name)

    def go_to(self, name: str) -> None:
        """Be at a snapshot; nothing is loaded when nothing else was since."""
        if self.at[-1] != name:
            loaded = self.invoke("lab.load", "--name", name)
            assert loaded.exit_code == 0, loaded.stderr
            self.at.append(name)

    def wait(self, holds: Callable[[], bool], what: str, seconds: float = 180.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"gave up waiting for {what}"
            time.sleep(0.5)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs only maintenance mode runs before what takes a whole bootstrap: no snapshot is loaded twice."""
    places = [place for place, item in enumerate(items) if item.get_closest_marker("lab")]
    ordered = sorted(
        (items[place] for place in places),
        # Rehearsals have labs of their own, and the one of the session stays up once it is.
        key=lambda item: (not _has_own_lab(item), _is_long(item), item.location[1] or 0),
    )
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


def _has_own_lab(item: pytest.Item) -> bool:
    return "rehearsals" in getattr(item, "fixturenames", ())


def _is_long(item: pytest.Item) -> bool:
    return bool({"converged", "handed_over"} & set(getattr(item, "fixturenames", ())))


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """A lab of this worktree, new for the session; what a person left running is refused, not ended."""
    made = World()
    owner = made.lab.owner()
    assert not owner, f"a lab is running for {owner.get('root')}: ./invoke lab.down, then test again"
    started = made.invoke("lab.up")
    assert started.exit_code == 0, started.stderr
    yield made
    made.invoke("lab.down")


@pytest.fixture(scope="session")
def rehearsals() -> Callable[[str], World]:
    """The command line, and where rehearsals of a cluster leave their state; no lab runs yet."""

    def world_of(cluster: str) -> World:
        made = World(state=ROOT / ".firstlight" / "rehearsal" / cluster)
        owner = made.lab.owner()
        assert not owner, f"a lab is running for {owner.get('root')}: ./invoke lab.down, then test again"
        return made

    return world_of


class Boundary(NamedTuple):
    """Where a run was killed: at the record that announces an action, or at the one of its end."""

    kind: str
    step: str
    number: int


@dataclass(frozen=True)
class HandedOver:
    """A lab that Flux runs, and what the commands said that brought it there."""

    world: World
    boundaries: tuple[Boundary, ...]
    killed: str
    finished: Ran
    judged: Ran
    report: dict[str, Any]


@pytest.fixture(scope="session")
def handed_over(world: World, tmp_path_factory: pytest.TempPathFactory) -> HandedOver:
    """From maintenance to the verdict, killed at every boundary on the way; core and verdict are saved as snapshots."""
    world.go_to("maintenance")
    world.at.append("under way")
    log = tmp_path_factory.mktemp("lab") / "killed.log"
    hit: list[Boundary] = []
    while (boundary := kill_at_next(world, log, hit)) is not None:
        hit.append(boundary)
    finished = world.invoke("bootstrap", "--cluster", "lab", "--skip", "handover")
    assert finished.exit_code == 0, finished.stderr
    report = world.report()
    world.save("core-done")
    judged = world.invoke("handover", "--cluster", "lab")
    assert judged.exit_code == 0, judged.stderr
    world.save("handed-over")
    return HandedOver(world, tuple(hit), log.read_text(), finished, judged, report)


def kill_at_next(world: World, log: Path, hit: list[Boundary]) -> Boundary | None:
    """Bootstrap, and kill it with -9 at the first boundary where no run was killed; None when one ended unhit."""
    journal = world.state / "journal.jsonl"
    before = journal.stat().st_size if journal.exists() else 0
    run = world.start(log, "bootstrap", "--cluster", "lab", "--skip", "handover")
    deadline = time.monotonic() + RUN_SECONDS
    while run.running:
        assert time.monotonic() < deadline, log.read_text()
        for boundary in boundaries(journal, before):
            if boundary not in hit:
                os.kill(run.pid, signal.SIGKILL)
                world.wait(lambda: not run.running, "the end of what was killed")
                return boundary
        time.sleep(0.02)
    assert "exit code" not in log.read_text().rpartition("whole run")[2], log.read_text()
    return None


def boundaries(journal: Path, start: int) -> list[Boundary]:
    """What the journal holds beyond a place: beginnings and ends of actions."""
    if not journal.exists():
        return []
    with journal.open("rb") as file:
        file.seek(start)
        lines = [line for line in file.read().split(b"\n")[:-1] if b'"action ' in line]
    entries = [json.loads(line) for line in lines]
    return [Boundary(entry["kind"], entry["holds"]["step"], entry["holds"]["index"]) for entry in entries]


@pytest.fixture
def converged(handed_over: HandedOver) -> World:
    """The lab as Flux runs it."""
    handed_over.world.go_to("handed-over")
    return handed_over.world


@pytest.fixture
def in_maintenance(world: World) -> World:
    """The lab with its machine in maintenance mode, never configured."""
    world.go_to("maintenance")
    return world
