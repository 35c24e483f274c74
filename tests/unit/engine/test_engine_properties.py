"""Whatever the graph, the outcomes, the selection and the moment of an interrupt: what holds for every run."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bootstrap.engine.course import Course
from bootstrap.engine.events import ActionStarted, Bus, Note, StepFailed, StepMoved
from bootstrap.engine.graph import Graph
from bootstrap.engine.machine import FINAL_STATES, LEGAL_MOVES, REASON_WANTED, IllegalMoveError, State
from bootstrap.engine.testing import FakeClock, Recording
from bootstrap.host.errors import ExitCode
from tests.unit.engine.plays import FAILING, GATED, PEACEFUL, Outcome, Performance, Play, Stage, plays
from tests.unit.engine.wellformed import check_events
from tests.unit.engine.world import phase, reading

# The same examples each time; a failure prints the play. Each starts up to 12 threads, which is why there are not more.
ALWAYS = settings(
    derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
HINDERED = re.compile(r"^(?:needs|comes after) (\S+), which (failed|was aborted)$")
UNBEGUN = re.compile(r"^(\S+) failed before (?:phase \S+ began|action \d+ of \d+: .*)$")
STOPPED = re.compile(r"^(\S+) failed while this was waiting for .*$")


class Moves(RuleBasedStateMachine):
    """One step is moved at random; the table says what may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.recording, self.stage = FakeClock(), Recording(), Stage()
        bus = Bus("test", clock=self.clock, redact=str, readers=[self.recording])
        node = Graph([phase("p", reading("s"))]).nodes["p/s"]
        self.course = Course(node, bus=bus, clock=self.clock, run_began=1000.0, recorder=self.stage)
        self.state = State.PENDING
        self.began = self.ended = 0.0
        self.moves: list[State] = []

    @rule(seconds=st.floats(0.0, 100.0))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(after=st.sampled_from(State), reason=st.sampled_from(["", "a reason"]))
    def move(self, after: State, reason: str) -> None:
        before = self.course.result()
        try:
            self.course.move(after, reason)
        except IllegalMoveError:
            assert after not in LEGAL_MOVES[self.state] or (after in REASON_WANTED and not reason)
            assert self.course.result() == before, "an illegal move changes nothing"
            return
        assert after in LEGAL_MOVES[self.state]
        assert reason or after not in REASON_WANTED
        told = self.recording.events[-1]
        assert isinstance(told, StepMoved)
        assert (told.before, told.after, told.reason) == (self.state, after, reason)
        self.state = after
        self.moves.append(after)
        if after is State.PROBING:
            self.began = self.clock.monotonic()
        if after in FINAL_STATES:
            self.ended = self.clock.monotonic()

    @invariant()
    def it_is_where_the_legal_moves_led(self) -> None:
        assert self.course.state is self.state
        assert self.course.ended == (self.state in FINAL_STATES)
        assert [told.after for told in self.recording.events if isinstance(told, StepMoved)] == self.moves
        assert [kind for kind, _, _ in self.stage.log] == self.moves

    @invariant()
    def its_time_runs_from_the_first_move_to_the_last(self) -> None:
        until = self.ended or self.clock.monotonic()
        assert self.course.seconds == (until - self.began if self.began else 0.0)


TestMoves = Moves.TestCase
TestMoves.settings = settings(derandomize=True, deadline=None, max_examples=100, stateful_step_count=15)


def check_order(done: Performance) -> None:
    """An action is remembered before its effect and after it, and nothing of the step happens between."""
    for path in done.graph.nodes:
        own = [(kind, index) for kind, index in done.stage.log_of(path) if index]
        open_ = 0
        for kind, index in own:
            if kind == "begins":
                assert open_ == 0
                open_ = index
            else:
                assert open_ == index, f"{kind} of an action that was not announced"
                open_ = 0 if kind == "ended" else open_
        assert open_ == 0


def check_ends(done: Performance, states: dict[str, State]) -> None:
    """Each step ends as its outcome says, or was hindered by one that it names."""
    for result in done.verdict.steps():
        assert states[result.path] is result.state
        outcome = done.play.part(result.path).outcome
        event(f"{outcome.name} ended {result.state}")
        if result.state is State.ABORTED:
            check_reason(done, result.path, result.reason, states)
        elif result.path in done.selection.acting:
            assert result.state is outcome.state
            acted, waited = (any(done.stage.log_of(result.path, kind)) for kind in ("begins", State.WAITING))
            assert waited == (acted and outcome in GATED)
            assert (result.failure.exit_code if result.failure else ExitCode.DONE) is outcome.code
        elif result.path in done.selection.probing:
            assert result.state in {State.SKIPPED, State.FAILED}
        else:
            assert (result.state, result.reason) == (State.SKIPPED, "not selected")


def check_reason(done: Performance, path: str, reason: str, states: dict[str, State]) -> None:
    node = done.graph.nodes[path]
    if match := HINDERED.match(reason):
        assert match[1] in node.needs | node.after
        assert states[match[1]] is (State.FAILED if match[2] == "failed" else State.ABORTED)
    elif match := UNBEGUN.match(reason) or STOPPED.match(reason):
        assert states[match[1]] is State.FAILED
    else:
        assert done.stage.interrupted, reason
        assert "interrupted by SIG" in reason


def check_dependants(done: Performance, states: dict[str, State]) -> None:
    for path, state in states.items():
        if state is State.FAILED:
            acting = done.graph.dependants[path] & (done.selection.acting | done.selection.probing)
            assert {states[each] for each in acting} <= {State.ABORTED}


def check_verdict(done: Performance, states: dict[str, State]) -> None:
    """The exit code is the first failure's; an interrupt comes before all."""
    verdict = done.verdict
    failed = [path for path, state in states.items() if state is State.FAILED]
    assert len(verdict.failures) == len(failed) + done.stage.interrupted
    assert (verdict.exit_code is ExitCode.DONE) == (not verdict.failures)
    assert (verdict.state is State.FAILED) == bool(failed)
    if not verdict.failures:
        assert verdict.state is State.DONE
    if done.stage.interrupted:
        assert verdict.exit_code == 128 + done.play.signals[0]
    elif failed:
        assert verdict.exit_code in {result.failure.exit_code for result in verdict.steps() if result.failure}


def check_stop(done: Performance) -> None:
    """Once the run is to stop, no action begins but those that were past the last look at it: one a step."""
    events = done.recording.events
    stops = [number for number, each in enumerate(events) if isinstance(each, StepFailed | Note)]
    if stops:
        later = [each.step for each in events[stops[0] :] if isinstance(each, ActionStarted)]
        stopped = events[stops[0]]
        by_signal = next((path for kind, path, _ in done.stage.log if kind == "signal"), "")
        assert max(Counter(later).values(), default=0) <= 1
        assert (stopped.step if isinstance(stopped, StepFailed) else by_signal) not in later


def check(done: Performance) -> None:
    states = check_events(done.recording.stamped, done.graph, workers=done.play.workers)
    check_order(done)
    check_ends(done, states)
    check_dependants(done, states)
    check_verdict(done, states)
    check_stop(done)


@ALWAYS
@given(plays())
def test_every_run_ends_in_order(play: Play) -> None:
    check(Stage().perform(play))


@ALWAYS
@given(plays(PEACEFUL, selecting=False))
def test_a_run_without_accidents_does_everything_and_the_second_does_nothing(play: Play) -> None:
    stage = Stage()
    first = stage.perform(play)
    check(first)
    assert first.verdict.state is State.DONE
    begun = Counter((path, index) for kind, path, index in stage.log if kind == "begins")
    assert set(begun.values()) <= {1}
    assert set(begun) == stage.effects
    second = stage.perform(play)
    check(second)
    assert second.verdict.nothing_to_do


@ALWAYS
@given(plays((*FAILING, Outcome.INTERRUPTS)))
def test_once_mended_a_run_goes_on_where_it_was_left(play: Play) -> None:
    stage = Stage()
    check(stage.perform(play))
    there = set(stage.effects)
    done = stage.perform(play.mended())
    check(done)
    assert done.verdict.state is State.DONE
    again = {(path, index) for kind, path, index in stage.log if kind == "begins"}
    assert not again & there, "what was done is not done again"
    assert stage.perform(play.mended()).verdict.nothing_to_do


@ALWAYS
@given(plays((Outcome.INTERRUPTS, Outcome.WAITS, Outcome.PROBE_BREAKS), selecting=False))
def test_an_interrupted_run_ends_in_order(play: Play) -> None:
    check(Stage().perform(play))
