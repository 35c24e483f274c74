"""Looks ahead: the probe of a step that an earlier run finished counts before its turn, or is made again at it."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine import Conflict, Done, Gate, Observation, Skip, Step, StepRef, ToDo
from bootstrap.engine.ahead import MOST_AGE
from bootstrap.engine.events import Note
from bootstrap.engine.graph import Graph, GraphError
from bootstrap.engine.machine import State
from bootstrap.engine.seams import NoRecorder
from bootstrap.engine.testing import FakeClock, Recording, run_phases
from bootstrap.host.errors import ExitCode, FirstlightError, InputError
from tests.unit.engine.world import World, phase, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.engine import Context, Found
    from bootstrap.engine.step import AnyStep
    from bootstrap.engine.verdict import Verdict

# Real seconds that a look gets to come about.
PATIENCE = 10.0
OTHER = StepRef[str]("other")


class Memory(NoRecorder):
    """Calls the steps of these names done; knows one identity."""

    def __init__(self, *paths: str, known: str = "") -> None:
        self.paths = paths
        self.known = known
        self.met: list[str] = []

    def was_done(self, path: str) -> bool:
        return path in self.paths

    def identify(self, kind: str, value: str) -> None:
        self.met.append(value)
        if self.known not in {"", value}:
            raise InputError(f"the {kind} is {value}, not {self.known}")


class Looked:
    """The step `late`, of which each probe is counted and the first is awaited.

    Args:
        finds: what its probes find, in their order; the last one for all that follow. An error is raised.
    """

    def __init__(self, *finds: Found[None, str] | FirstlightError) -> None:
        self.finds = finds
        self.probes = 0
        self.was_looked_at = threading.Event()

    def probe(self, ctx: Context) -> Found[None, str]:
        found = self.finds[min(self.probes, len(self.finds) - 1)]
        self.probes += 1
        ctx.note(f"look {self.probes}")
        ctx.identify("UID", "here")
        self.was_looked_at.set()
        if isinstance(found, FirstlightError):
            raise found
        return found

    def awaited(self, _ctx: Context) -> str:
        assert self.was_looked_at.wait(PATIENCE), "nobody looked"
        return "there"

    def step(self, *needs: str, reads: tuple[str, ...] | None = None) -> Step[None, str]:
        return Step(name="late", title="late", probe=self.probe, needs=needs, reads=reads)


def done(value: str = "late") -> Done[str]:
    return Done("found", value)


def ran(
    looked: Looked, *before: AnyStep, memory: Memory | None = None, clock: FakeClock | None = None
) -> tuple[Verdict, list[str]]:
    """Run `late` in a phase of its own after the others, and what was noted."""
    recording = Recording()
    verdict = run_phases(
        [phase("a", *before), phase("b", looked.step())],
        recorder=memory or Memory("b/late"), clock=clock, readers=[recording],
    )  # fmt: skip
    return verdict, [event.text for event in recording.events if isinstance(event, Note)]


def test_what_was_seen_ahead_counts_at_its_turn() -> None:
    looked = Looked(done())
    memory = Memory("b/late", known="here")
    verdict, notes = ran(looked, reading("early", looked.awaited), memory=memory)
    assert verdict.state is State.DONE
    assert (looked.probes, notes, memory.met) == (1, ["look 1"], ["here"])


@pytest.mark.parametrize(
    "first",
    [ToDo(None, "missing"), Skip("does not apply", "late"), Conflict("another's"), FirstlightError("no answer")],
    ids=["to do", "skip", "conflict", "error"],
)
def test_only_done_counts(first: Found[None, str] | FirstlightError) -> None:
    looked = Looked(first, done())
    verdict, notes = ran(looked, reading("early", looked.awaited))
    assert verdict.state is State.DONE
    assert (looked.probes, notes) == (2, ["look 2"])


def test_a_refusal_is_told_at_its_turn() -> None:
    looked = Looked(done(), done())
    verdict, _ = ran(looked, reading("early", looked.awaited), memory=Memory("b/late", known="elsewhere"))
    assert [failure.fact for failure in verdict.failures] == ["the UID is here, not elsewhere"]
    assert verdict.exit_code is ExitCode.INVALID


def test_a_look_is_void_once_the_run_wrote() -> None:
    looked = Looked(done())
    verdict, _ = ran(looked, reading("first", looked.awaited), World().acting("early", needs=("first",)))
    assert verdict.state is State.DONE
    assert looked.probes == 2


def test_a_look_is_void_once_the_run_waited() -> None:
    looked = Looked(done())

    gate = Gate(description="something", check=lambda _: Observation(holds=True, seen="there", value="early"))
    waits: Step[None, str] = Step(
        name="early", title="early", probe=lambda _: ToDo(None, "missing"), gate=lambda _: gate, needs=("first",)
    )
    verdict, _ = ran(looked, reading("first", looked.awaited), waits)
    assert verdict.state is State.DONE
    assert looked.probes == 2


def test_files_of_our_own_leave_a_look_as_it_is() -> None:
    looked = Looked(done())
    verdict, _ = ran(looked, reading("first", looked.awaited), World().acting("early", needs=("first",), writes=False))
    assert verdict.state is State.DONE
    assert looked.probes == 1


def test_a_look_grows_old() -> None:
    looked, clock = Looked(done()), FakeClock()

    def awaited(ctx: Context) -> str:
        looked.awaited(ctx)
        clock.advance(MOST_AGE + 1)
        return "there"

    verdict, _ = ran(looked, reading("early", awaited), clock=clock)
    assert verdict.state is State.DONE
    assert looked.probes == 2


def test_nothing_is_looked_at_that_no_run_finished() -> None:
    looked = Looked(done())
    verdict, _ = ran(looked, reading("early"), memory=Memory())
    assert verdict.state is State.DONE
    assert looked.probes == 1


def chained(*, first: Sequence[str]) -> tuple[Verdict, Counter[str]]:
    """Run `other`, which gives its values in this order, and `late`, which reads them; both are looked at."""
    probes: Counter[str] = Counter()
    looked = threading.Event()
    values = iter(first)

    def other(_ctx: Context) -> Found[None, str]:
        probes["other"] += 1
        value = next(values)
        return Done("found", value) if value else ToDo(None, "missing")

    def late(ctx: Context) -> Found[None, str]:
        probes["late"] += 1
        value = ctx.value(OTHER)
        looked.set()
        return Done(value, value)

    def awaited(_ctx: Context) -> str:
        assert looked.wait(PATIENCE)
        return "there"

    steps: tuple[AnyStep, ...] = (
        Step(name="other", title="other", probe=other, needs=("early",), reads=()),
        Step(name="late", title="late", probe=late, needs=("early", "other"), reads=("other",)),
    )
    verdict = run_phases(
        [phase("a", reading("early", awaited)), phase("b", *steps)], recorder=Memory("b/late", "b/other")
    )
    return verdict, probes


def test_a_look_is_made_with_what_another_saw() -> None:
    verdict, probes = chained(first=["one", "two"])
    assert verdict.state is State.DONE
    assert probes == {"other": 1, "late": 1}


def test_a_look_with_a_value_that_was_given_anew_is_void(monkeypatch: pytest.MonkeyPatch) -> None:
    from bootstrap.engine.ahead import Ahead

    take = Ahead.take
    monkeypatch.setattr(Ahead, "take", lambda self, path, scene: None if path == "b/other" else take(self, path, scene))
    verdict, probes = chained(first=["one", "two"])
    assert verdict.state is State.DONE
    assert probes == {"other": 2, "late": 2}


def test_a_probe_ahead_reads_no_more_than_it_says() -> None:
    probes: list[str] = []
    looked = threading.Event()

    def late(ctx: Context) -> Found[None, str]:
        probes.append(ctx.path)
        looked.set()
        return Done(ctx.value(OTHER), "late")

    def awaited(_ctx: Context) -> str:
        assert looked.wait(PATIENCE)
        return "there"

    step: Step[None, str] = Step(name="late", title="late", probe=late, needs=("early", "other"), reads=("early",))
    before = (reading("other"), reading("early", needs=("other",)), reading("last", awaited))
    verdict = run_phases([phase("a", *before), phase("b", step)], recorder=Memory("b/late"))
    assert verdict.state is State.DONE
    assert probes == ["b/late", "b/late"]


def test_what_is_read_is_needed() -> None:
    with pytest.raises(GraphError, match="late reads early without needing it"):
        Graph([phase("a", reading("early"), Looked().step(reads=("early",)))])


def test_looks_leave_the_steps_their_threads() -> None:
    """As many looks as threads hang; a step whose turn it is begins all the same."""
    turn = threading.Event()

    def hangs(_ctx: Context) -> Found[None, str]:
        assert turn.wait(PATIENCE)
        return done()

    def early(_ctx: Context) -> str:
        turn.set()
        return "there"

    late: list[AnyStep] = [Step(name=f"late-{number}", title="late", probe=hangs) for number in range(3)]
    steps = [phase("a", reading("first"), reading("second", early, needs=("first",))), phase("b", *late)]
    verdict = run_phases(steps, recorder=Memory(*(f"b/{step.name}" for step in late)), workers=3)
    assert verdict.state is State.DONE
