from __future__ import annotations

import threading
from datetime import UTC, datetime

from bootstrap.engine.events import Bus, Note, RunEnded, Stamped, StepFailed, redacted
from bootstrap.engine.machine import State
from bootstrap.engine.meter import Meter, MeteredCommandRunner
from bootstrap.engine.testing import FakeClock, Recording, run_phases
from bootstrap.host.commands import Command, Result
from bootstrap.host.errors import Problem
from bootstrap.host.secret import Redactor, Secret
from tests.unit.engine.world import World, phase

WALL = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def masked(text: str) -> str:
    return text.replace("hunter22", "[redacted]")


class Broken:
    def read(self, stamped: Stamped) -> None:
        raise BrokenPipeError(f"nobody reads {stamped.sequence}")


def test_events_are_stamped_in_order() -> None:
    clock, recording = FakeClock(), Recording()
    bus = Bus("run-1", clock=clock, redact=str, readers=[recording], wall=lambda: WALL)
    bus.emit(Note("one"))
    clock.advance(2.5)
    bus.emit(Note("two"))
    assert recording.stamped == [
        Stamped("run-1", 1, 1000.0, 0.0, WALL, Note("one")),
        Stamped("run-1", 2, 1002.5, 2.5, WALL, Note("two")),
    ]


def test_every_text_is_redacted_to_any_depth() -> None:
    problems = (Problem("hunter22 is wrong", "f.yaml", 1, 2, "not hunter22"),)
    event = StepFailed("a/one", "hunter22", "because hunter22", "x", problems, 1, "out: hunter22")
    clean = redacted(event, masked)
    assert "hunter22" not in repr(clean)
    assert clean.problems[0] == Problem("[redacted] is wrong", "f.yaml", 1, 2, "not [redacted]")
    assert redacted({"a": (State.DONE, 1.5, None)}, masked) == {"a": (State.DONE, 1.5, None)}


def test_no_secret_of_a_run_reaches_a_reader_or_the_verdict() -> None:
    redactor, recording = Redactor(), Recording()
    redactor.add(Secret("hunter22-and-more", "op://lab/x/y"))
    world = World()

    def before(_ctx: object) -> None:
        raise RuntimeError("token hunter22-and-more refused")

    verdict = run_phases(
        [phase("a", world.acting("one", effects=("hunter22-and-more",), before=before))],
        readers=[recording],
        redact=redactor.redact,
    )
    assert "hunter22" not in repr(recording.stamped)
    assert "hunter22" not in repr(verdict)
    assert "[redacted]" in repr(verdict)


def test_a_reader_that_raises_breaks_nothing_and_is_told_of_once() -> None:
    recording = Recording()
    verdict = run_phases([phase("a", World().acting("one"))], readers=[Broken(), recording])
    notes = [event.text for event in recording.events if isinstance(event, Note)]
    assert notes == ["Broken failed: BrokenPipeError: nobody reads 1"]
    assert verdict.nothing_to_do is False
    assert isinstance(recording.events[-1], RunEnded)


def test_readers_never_see_two_events_at_once_nor_out_of_order() -> None:
    class Careful:
        def __init__(self) -> None:
            self.inside = 0
            self.overlaps = 0
            self.sequence: list[int] = []

        def read(self, stamped: Stamped) -> None:
            self.inside += 1
            self.overlaps += self.inside > 1
            self.sequence.append(stamped.sequence)
            self.inside -= 1

    reader = Careful()
    bus = Bus("x", clock=FakeClock(), redact=str, readers=[reader])

    def speak() -> None:
        for _ in range(50):
            bus.emit(Note("n"))

    threads = [threading.Thread(target=speak) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reader.overlaps == 0
    assert reader.sequence == list(range(1, 201))


def test_the_meter_counts_overlapping_intervals_once() -> None:
    clock = FakeClock()
    meter = Meter(clock)
    clock.advance(1.0)
    with meter.outside("command"):
        clock.advance(2.0)
        with meter.outside("request"):
            clock.advance(3.0)
        assert meter.ours_seconds == 1.0
    clock.advance(0.5)
    assert meter.ours_seconds == 1.5
    assert meter.by_kind == {"command": 5.0, "request": 3.0}


def test_a_childs_time_is_not_ours() -> None:
    clock = FakeClock()
    meter = Meter(clock)

    class Slow:
        def run(self, command: Command) -> Result:
            clock.advance(4.0)
            return Result(0, str(command).encode(), b"", 4.0)

    from pathlib import Path

    MeteredCommandRunner(Slow(), meter).run(Command(Path("/bin/helm")))
    assert (meter.ours_seconds, meter.by_kind) == (0.0, {"command": 4.0})
