"""Journals and runs that write to them."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from bootstrap.engine import Gate
from bootstrap.engine.events import Bus
from bootstrap.engine.graph import Graph
from bootstrap.engine.journal import FILE, Journal
from bootstrap.engine.journal_file import Disk, Entry
from bootstrap.engine.meter import Meter
from bootstrap.engine.run import Settings, execute
from bootstrap.engine.runner import Children
from bootstrap.engine.selection import everything
from bootstrap.engine.testing import FakeClock, FakeSignals
from tests.unit.engine.world import World, holds_at_look, phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from bootstrap.engine import Phase
    from bootstrap.engine.verdict import Verdict

COMMAND = "./invoke bootstrap --cluster lab"
RUN_IDS = (f"run-{number}" for number in count(1))
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
# Tests that do not ask whether a record is on disk do not wait for the disk.
QUICK = Disk(sync=lambda _descriptor: None)


def opened(folder: Path, **options: Any) -> Journal:
    """The journal of a cluster, by default of `lab`."""
    given: dict[str, Any] = {"cluster": "lab", "tool": "0.1.0", "redact": str, "disk": QUICK, "wall": lambda: NOON}
    return Journal.open(folder / FILE, **(given | options))


def ran(
    journal: Journal, phases: Sequence[Phase], *, clock: FakeClock | None = None, redact: Callable[[str], str] = str
) -> Verdict:
    """Execute phases with a journal."""
    clock, graph = clock or FakeClock(), Graph(phases)
    return execute(
        graph,
        everything(graph),
        Settings(cluster="lab", resume_command=COMMAND, target=600.0, inputs={"a/one": "0a"}, workers=1),
        bus=Bus(next(RUN_IDS), clock=clock, redact=redact),
        clock=clock,
        meter=Meter(clock),
        children=Children(stop=lambda: None, kill=lambda: None),
        signals=FakeSignals(),
        recorder=journal,
    )


def two_steps(world: World) -> list[Phase]:
    """A step of two actions with a gate, and one of one action."""
    gate = Gate(description="one to settle", check=holds_at_look(3))
    return [phase("a", world.acting("one", effects=("left", "right"), gate=gate)), phase("b", world.acting("two"))]


def of_kind(entries: Iterable[Entry], kind: str) -> list[Entry]:
    return [entry for entry in entries if entry.kind == kind]
