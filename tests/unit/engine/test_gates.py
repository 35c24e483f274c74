"""Gates that are watched, that look ever less often, and that want a condition to stay."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.engine import Conflict, Context, Gate, Observation
from bootstrap.engine.events import WaitEnded, WaitObserved, WaitStarted
from bootstrap.engine.machine import State
from bootstrap.engine.pace import GROWTH, JITTER, Pace
from bootstrap.engine.seams import NoRecorder
from bootstrap.engine.testing import FakeClock, FakeSignals, Recording, run_phases
from bootstrap.host.clock import SystemClock
from bootstrap.host.errors import ExitCode, FirstlightError
from tests.unit.engine.eventful import EventfulClock
from tests.unit.engine.world import World, phase, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from bootstrap.engine.verdict import Verdict, WaitRecord


class Source:
    """Something that can be watched: it holds from `ready` on, and tells who watches when it is told to."""

    def __init__(self, clock: FakeClock, *, ready: float, look_seconds: float = 0.0) -> None:
        self.looks: list[float] = []
        self.watched: list[str] = []
        self._clock = clock
        self._ready = ready
        self._look_seconds = look_seconds
        self._wake: Callable[[], None] = lambda: None

    def check(self, _ctx: Context) -> Observation[str]:
        began = self._clock.monotonic()
        self.looks.append(began)
        self._clock.pause(self._look_seconds, threading.Event())
        return Observation(began >= self._ready, "there" if began >= self._ready else "absent")

    @contextlib.contextmanager
    def watch(self, _ctx: Context, wake: Callable[[], None]) -> Iterator[None]:
        self._wake = wake
        self.watched.append("opened")
        try:
            yield
        finally:
            self.watched.append("closed")

    def tell(self) -> None:
        self._wake()


def wait_for(gate: Gate[str], clock: FakeClock) -> tuple[Verdict, WaitRecord, Recording]:
    recording = Recording()
    step = World().acting("one", gate=gate)
    verdict = run_phases([phase("a", step, deadline=1e6)], clock=clock, readers=[recording], target=1e6)
    return verdict, next(verdict.steps()).waits[0], recording


def test_a_wake_up_makes_the_next_look_come_at_once() -> None:
    clock = EventfulClock()
    source = Source(clock, ready=12.5)
    clock.at(12.5, source.tell)
    gate = Gate(description="it", check=source.check, interval=30.0, watch=source.watch)
    _, wait, _ = wait_for(gate, clock)
    assert source.looks == [0.0, 12.5]
    assert (wait.seconds, wait.ours, wait.doubt) == (12.5, 0.0, 0.0)
    assert source.watched == ["opened", "closed"]


def test_without_a_wake_up_a_watched_gate_still_polls() -> None:
    clock = EventfulClock()
    source = Source(clock, ready=12.5)
    gate = Gate(description="it", check=source.check, interval=5.0, watch=source.watch)
    _, wait, _ = wait_for(gate, clock)
    assert source.looks == [0.0, 5.0, 10.0, 15.0]
    assert (wait.ours, wait.doubt, wait.world) == (0.0, 5.0, 15.0)


def test_a_wake_up_during_a_look_is_not_lost() -> None:
    clock = EventfulClock()
    source = Source(clock, ready=1.0, look_seconds=2.0)
    clock.at(1.0, source.tell)
    gate = Gate(description="it", check=source.check, interval=30.0, watch=source.watch)
    _, wait, _ = wait_for(gate, clock)
    assert source.looks == [0.0, 2.0]
    # From the wake-up at 1 to the next look at 2 we were busy with what could not see it yet; that look is a request.
    assert (wait.seconds, wait.ours, wait.doubt) == (4.0, 1.0, 0.0)


def test_a_wake_up_without_news_ends_nothing() -> None:
    clock = EventfulClock()
    source = Source(clock, ready=7.0)
    for moment in (1.0, 1.5, 7.0):
        clock.at(moment, source.tell)
    _, wait, recording = wait_for(Gate(description="it", check=source.check, interval=60.0, watch=source.watch), clock)
    assert source.looks == [0.0, 1.0, 1.5, 7.0]
    assert [event.seen for event in recording.events if isinstance(event, WaitObserved)] == ["absent", "there"]
    assert wait.seconds == 7.0


def test_no_two_looks_of_a_wait_are_taken_at_once() -> None:
    looking, most, looks = threading.Semaphore(1), [0], [0]

    def check(_ctx: Context) -> Observation[str]:
        most[0] += not looking.acquire(blocking=False)
        looks[0] += 1
        # Long enough for a second look to begin, if one could.
        time.sleep(0.001)
        looking.release()
        return Observation(looks[0] >= 20, "looked")

    @contextlib.contextmanager
    def watch(_ctx: Context, wake: Callable[[], None]) -> Iterator[None]:
        closed = threading.Event()

        def tell() -> None:
            while not closed.is_set():
                wake()

        threads = [threading.Thread(target=tell) for _ in range(3)]
        for thread in threads:
            thread.start()
        yield
        closed.set()
        for thread in threads:
            thread.join()

    step = World().acting("one", gate=Gate(description="it", check=check, interval=30.0, watch=watch))
    verdict = run_phases([phase("a", step)], clock=SystemClock())
    assert verdict.exit_code is ExitCode.DONE
    assert (looks[0], most[0]) == (20, 0)


@pytest.mark.parametrize("timeout", [8.0, 100.0])
def test_the_watch_is_closed_however_the_wait_ends(timeout: float) -> None:
    clock = EventfulClock()
    source = Source(clock, ready=50.0)

    def check(ctx: Context) -> Observation[str]:
        if clock.monotonic() >= 20.0:
            raise FirstlightError("no")
        return source.check(ctx)

    verdict, wait, _ = wait_for(
        Gate(description="it", check=check, watch=source.watch, timeout=timeout, transient=lambda _: False), clock
    )
    assert (verdict.state, wait.held) == (State.FAILED, False)
    assert source.watched == ["opened", "closed"]


@pytest.mark.parametrize("interrupts", [True, False])
def test_a_long_pause_ends_at_once_when_the_run_stops(*, interrupts: bool) -> None:
    # A pause that did not end would end in the gate's own limit, seconds later, and with another state.
    waiting, signals = threading.Event(), FakeSignals()

    def check(_ctx: Context) -> Observation[str]:
        waiting.set()
        return Observation(holds=False, seen="no")

    def stop(_ctx: Context) -> str:
        waiting.wait()
        if interrupts:
            signals.send(2)
            return "sent"
        raise FirstlightError("it failed")

    gate = Gate[str](description="it", check=check, interval=5.0, timeout=5.0)
    steps = (World().acting("one", gate=gate), reading("two", stop))
    verdict = run_phases([phase("a", *steps)], clock=SystemClock(), signals=signals)
    assert next(verdict.steps()).state is State.ABORTED


def looks_of(gate_looks: list[float], seen: Callable[[float], str], *, slowest: float | None) -> list[float]:
    clock = EventfulClock()

    def check(_ctx: Context) -> Observation[str]:
        gate_looks.append(clock.monotonic())
        return Observation(clock.monotonic() >= 100.0, seen(clock.monotonic()))

    wait_for(Gate(description="it", check=check, interval=1.0, slowest=slowest, timeout=1e6), clock)
    return [after - before for before, after in itertools.pairwise(gate_looks)]


def test_looks_without_news_come_ever_later_up_to_the_slowest() -> None:
    pauses = looks_of([], lambda _: "nothing", slowest=8.0)
    grown = [1.0, 1.5, 1.5**2, 1.5**3, 1.5**4, 1.5**5, 8.0, 8.0]
    assert pauses[: len(grown)] == [pytest.approx(one, rel=JITTER) for one in grown]
    assert max(pauses) <= 8.0 * (1 + JITTER)
    assert len(set(pauses)) == len(pauses), "without jitter all runs would look at the same moments"


def test_anything_new_makes_looks_quick_again() -> None:
    looks: list[float] = []
    pauses = looks_of(looks, lambda now: "early" if now < 40.0 else "late", slowest=20.0)
    first_late = next(place for place, look in enumerate(looks) if look >= 40.0)
    assert pauses[first_late] == pytest.approx(1.0, rel=JITTER)
    assert pauses[first_late - 1] > 5.0


def test_jitter_is_the_same_for_the_same_seed() -> None:
    assert looks_of([], lambda _: "nothing", slowest=8.0) == looks_of([], lambda _: "nothing", slowest=8.0)


def test_without_a_slowest_the_interval_is_exact() -> None:
    assert set(looks_of([], lambda _: "nothing", slowest=None)) == {1.0}


@given(
    interval=st.floats(0.1, 5.0),
    slowest=st.floats(0.1, 60.0),
    news=st.lists(st.booleans(), min_size=1),
    random=st.randoms(use_true_random=False),
)
def test_pauses_stay_within_their_bounds(interval: float, slowest: float, news: list[bool], random: Random) -> None:
    pace = Pace(interval, slowest, random)
    before = interval
    for is_news in news:
        pause = pace.next(news=is_news)
        assert interval * (1 - JITTER) <= pause <= max(interval, slowest) * (1 + JITTER)
        assert pause <= before * GROWTH * (1 + JITTER) / (1 - JITTER) + 1e-9
        before = interval if is_news else pause


def flapping(*times: float) -> Callable[[float], bool]:
    """True after an odd number of these moments have passed."""
    return lambda now: sum(moment <= now for moment in times) % 2 == 1


@pytest.mark.parametrize(
    ("holds", "times", "stable", "ends"),
    [
        (flapping(3.0), 1, 5.0, 8.0),
        (flapping(3.0, 6.0, 7.0), 1, 5.0, 12.0),
        (flapping(3.0), 4, 0.0, 6.0),
        (flapping(3.0), 4, 1.5, 6.0),
        (flapping(3.0), 2, 5.0, 8.0),
        (flapping(3.0, 5.0, 8.0), 3, 1.0, 10.0),
    ],
)
def test_a_condition_has_to_stay(holds: Callable[[float], bool], times: int, stable: float, ends: float) -> None:
    clock = EventfulClock()

    def check(_ctx: Context) -> Observation[str]:
        return Observation(holds(clock.monotonic()), "it")

    _, wait, _ = wait_for(Gate(description="it", check=check, times=times, stable=stable), clock)
    assert wait.seconds == pytest.approx(ends)
    assert wait.held


def test_a_window_ends_between_two_looks_too() -> None:
    clock = EventfulClock()
    source = Source(clock, ready=0.0)
    gate = Gate(description="it", check=source.check, interval=10.0, stable=3.5)
    _, _, recording = wait_for(gate, clock)
    assert source.looks == [0.0, 3.5]
    ended = next(event for event in recording.events if isinstance(event, WaitEnded))
    assert ended.seen == "there (has to hold for 3.5 s)"


@pytest.mark.parametrize(
    ("moments", "ends"),
    [
        ((3.0,), 8.0),
        ((3.0, 6.0, 7.0), 12.0),
        ((0.0,), 5.0),
    ],
)
def test_what_no_waiting_mends_ends_the_wait_once_it_stood(moments: tuple[float, ...], ends: float) -> None:
    clock, stands = EventfulClock(), flapping(*moments)

    def check(_ctx: Context) -> Observation[str]:
        conflict = Conflict("fact", cause="cause", remedy="remedy", exit_code=ExitCode.FAILED)
        return Observation(holds=False, seen="it", conflict=conflict if stands(clock.monotonic()) else None)

    verdict, wait, recording = wait_for(Gate(description="it", check=check, grace=5.0), clock)
    assert wait.seconds == pytest.approx(ends)
    (failure,) = verdict.failures
    assert (failure.fact, failure.cause, failure.remedy, failure.exit_code) == (
        "fact", "cause", "remedy", ExitCode.FAILED,
    )  # fmt: skip
    said = [event.seen for event in recording.events if isinstance(event, WaitObserved)]
    assert said[-1] == "it (ends the wait when it stands for 5 s)"


def test_a_gate_says_what_its_expiry_means() -> None:
    clock = EventfulClock()
    gate = Gate(description="it", check=Source(clock, ready=9.0).check, timeout=2.0, expires=ExitCode.FAILED)
    verdict, _, _ = wait_for(gate, clock)
    assert verdict.exit_code is ExitCode.FAILED


def test_another_conflict_begins_anew_and_a_look_comes_when_it_has_stood() -> None:
    clock = EventfulClock()
    looks: list[float] = []

    def check(_ctx: Context) -> Observation[str]:
        looks.append(clock.monotonic())
        return Observation(holds=False, seen="it", conflict=Conflict("one" if len(looks) == 1 else "other"))

    _, wait, _ = wait_for(Gate(description="it", check=check, interval=3.0, grace=5.0), clock)
    assert looks == [0.0, 3.0, 6.0, 8.0]
    assert not wait.held


def test_our_own_pauses_are_ours() -> None:
    clock = EventfulClock()
    source = Source(clock, ready=9.0, look_seconds=0.5)
    verdict, wait, recording = wait_for(Gate(description="it", check=source.check, interval=2.0, times=3), clock)
    # Looks at 0, 2.5, 5, 7.5 do not hold; those at 10, 12.5, 15 do, with two pauses of ours between them.
    assert source.looks == [0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0]
    assert (wait.seconds, wait.ours, wait.doubt) == (15.5, 4.0, 2.0)
    assert verdict.ours_seconds == pytest.approx(4.0)
    assert next(verdict.steps()).ours == pytest.approx(4.0)
    ended = next(event for event in recording.events if isinstance(event, WaitEnded))
    assert (ended.ours, ended.doubt) == (4.0, 2.0)


def test_what_holds_at_the_first_look_is_in_no_doubt() -> None:
    clock = EventfulClock()
    _, wait, _ = wait_for(Gate(description="it", check=Source(clock, ready=0.0).check), clock)
    assert (wait.seconds, wait.ours, wait.doubt) == (0.0, 0.0, 0.0)


class Remembering(NoRecorder):
    def usual_seconds(self, path: str, description: str) -> float | None:
        return {("a/one", "it"): 35.0}.get((path, description))


def test_a_wait_knows_what_it_usually_takes() -> None:
    recording = Recording()
    clock = EventfulClock()
    gate = Gate(description="it", check=Source(clock, ready=40.0).check)
    step = World().acting("one", gate=gate)
    verdict = run_phases([phase("a", step)], clock=clock, readers=[recording], recorder=Remembering())
    told = [event.usual for event in recording.events if isinstance(event, WaitStarted | WaitObserved)]
    assert len(told) > 2
    assert set(told) == {35.0}
    assert next(verdict.steps()).waits[0].usual == 35.0
