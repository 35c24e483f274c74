"""What a run does with steps that are done, to do, in conflict or broken."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine import (
    Conflict,
    Context,
    Done,
    Found,
    Gate,
    Observation,
    Proof,
    ProofKind,
    Skip,
    Step,
    StepRef,
    ToDo,
)
from bootstrap.engine.events import (
    ActionEnded,
    ActionStarted,
    PhaseEnded,
    PhaseStarted,
    RunEnded,
    StepMoved,
    UnexpectedError,
)
from bootstrap.engine.machine import State
from bootstrap.engine.seams import NoRecorder
from bootstrap.engine.testing import Recording, run_phases
from bootstrap.host.errors import ExitCode, FirstlightError, InputError, Problem
from tests.unit.engine.world import World, holds_at_look, phase, reading

if TYPE_CHECKING:
    from bootstrap.engine.verdict import Verdict

# Seconds; only a broken engine lets a test wait that long.
PATIENCE = 5.0


def states(verdict: Verdict) -> dict[str, str]:
    return {step.path: step.state.value for step in verdict.steps()}


def reason(verdict: Verdict, path: str) -> str:
    return next(step.reason for step in verdict.steps() if step.path == path)


def fail(_ctx: Context) -> str:
    raise FirstlightError("the disk is gone", cause="no such device", remedy="plug it in")


def test_a_first_run_acts_and_a_second_finds_nothing_to_do() -> None:
    world = World()
    phases = [phase("a", world.acting("one", gate=Gate(description="one", check=holds_at_look(2))))]
    first, second = run_phases(phases), run_phases(phases)
    assert (first.exit_code, first.writes, first.nothing_to_do) == (ExitCode.DONE, 1, False)
    assert (second.exit_code, second.writes, second.nothing_to_do) == (ExitCode.DONE, 0, True)
    assert world.effects == ["one"]


def test_a_step_goes_through_its_states_in_order() -> None:
    recording = Recording()
    world = World()
    gate = Gate(description="one", check=holds_at_look(1))
    run_phases([phase("a", world.acting("one", gate=gate))], readers=[recording])
    moves = [(event.before, event.after) for event in recording.events if isinstance(event, StepMoved)]
    assert moves == [
        (State.PENDING, State.PROBING),
        (State.PROBING, State.ACTING),
        (State.ACTING, State.WAITING),
        (State.WAITING, State.DONE),
    ]


def test_values_travel_to_dependants_from_probe_gate_and_skip() -> None:
    def check(_ctx: Context) -> Observation[int]:
        return Observation(holds=True, seen="7", value=7)

    def seven(_ctx: Context) -> Gate[int]:
        return Gate(description="seven", check=check)

    def to_do(_ctx: Context) -> Found[None, int]:
        return ToDo(None)

    def skip(_ctx: Context) -> Found[None, int]:
        return Skip("not here", 8)

    gated = Step(name="gated", title="", probe=to_do, gate=seven)
    skipped = Step(name="skipped", title="", probe=skip)
    sums: list[int] = []

    def add(ctx: Context) -> str:
        sums.append(ctx.value(gated) + ctx.value(skipped) + len(ctx.value(StepRef[str]("text"))))
        return ""

    verdict = run_phases(
        [phase("a", gated, skipped, reading("sum", add, needs=("gated", "skipped", "text")))], values={"text": "abc"}
    )
    assert sums == [18]
    assert states(verdict)["a/skipped"] == "skipped"
    assert reason(verdict, "a/skipped") == "not here"


def test_a_value_that_was_not_declared_is_a_bug() -> None:
    one = reading("one")
    verdict = run_phases([phase("a", one, reading("two", lambda ctx: ctx.value(one)))])
    assert states(verdict)["a/two"] == "failed"
    assert "without needing it" in verdict.failures[0].fact


def test_independent_steps_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=PATIENCE)

    def meet(_ctx: Context) -> str:
        barrier.wait()
        return "met"

    verdict = run_phases([phase("a", *(reading(f"s{number}", meet) for number in range(3)))])
    assert verdict.exit_code is ExitCode.DONE


def test_no_more_steps_run_at_once_than_there_are_workers() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def look(_ctx: Context) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1
        return ""

    run_phases([phase("a", *(reading(f"s{number}", look) for number in range(12)))], workers=3)
    assert most <= 3


def test_an_early_step_of_a_later_phase_runs_beside_an_earlier_phase() -> None:
    drawn = threading.Event()

    def wait_for_chart(_ctx: Context) -> str:
        assert drawn.wait(PATIENCE)
        return ""

    def draw(_ctx: Context) -> str:
        drawn.set()
        return ""

    verdict = run_phases(
        [phase("talos", reading("machine", wait_for_chart)), phase("core", reading("chart", draw, early=True))]
    )
    assert verdict.exit_code is ExitCode.DONE


def test_a_phase_begins_when_the_one_before_is_done() -> None:
    recording = Recording()
    run_phases([phase("a", reading("one")), phase("b", reading("two"))], readers=[recording])
    shown = [
        getattr(event, "phase", "") or getattr(event, "step", "")
        for event in recording.events
        if isinstance(event, PhaseStarted | PhaseEnded) or (isinstance(event, StepMoved) and event.after is State.DONE)
    ]
    assert shown == ["a", "a/one", "a", "b", "b/two", "b"]


class SlowRecorder(NoRecorder):
    """Takes its time to note that a step is done, as a slow disk does."""

    def __init__(self, slow: str) -> None:
        self.noting = threading.Event()
        self.log: list[str] = []
        self._slow = slow
        self._ended = threading.Event()

    def step_moved(self, path: str, state: State, reason: str, seconds: float) -> None:  # noqa: ARG002 # the protocol's
        if (path, state) == (self._slow, State.DONE):
            self.noting.set()
            # As long as an engine that does not wait for it would need to end the phase.
            self._ended.wait(0.2)
        self.log.append(f"{path} {state}")

    def phase_ended(self, name: str, state: State, seconds: float) -> None:  # noqa: ARG002 # the protocol's
        self.log.append(f"{name} {state}")
        self._ended.set()


def test_a_phase_ends_when_all_of_its_steps_are_noted() -> None:
    recorder = SlowRecorder("a/slow")

    def await_slow(_ctx: Context) -> str:
        assert recorder.noting.wait(PATIENCE)
        return "there"

    run_phases([phase("a", reading("slow"), reading("other", await_slow))], recorder=recorder)
    assert recorder.log[-1] == "a done"
    assert sorted(recorder.log[-3:-1]) == ["a/other done", "a/slow done"]


def test_a_failure_aborts_its_dependants_with_the_reason_and_later_phases() -> None:
    verdict = run_phases(
        [
            phase("a", reading("bad", fail), reading("child", needs=("bad",)), reading("other")),
            phase("b", reading("later"), reading("soon", early=True)),
        ]
    )
    assert states(verdict) == {
        "a/bad": "failed",
        "a/child": "aborted",
        "a/other": "done",
        "b/later": "aborted",
        "b/soon": "done",
    }
    assert reason(verdict, "a/child") == "needs a/bad, which failed"
    assert reason(verdict, "b/later") == "comes after a/bad, which failed"
    assert [phase.state.value for phase in verdict.phases] == ["failed", "aborted"]
    assert (verdict.failures[0].fact, verdict.failures[0].remedy) == ("the disk is gone", "plug it in")


def test_every_problem_of_a_phase_is_reported() -> None:
    verdict = run_phases([phase("preflight", reading("one", fail), reading("two", fail), reading("three", fail))])
    assert len(verdict.failures) == 3


def test_after_a_failure_a_running_action_is_finished_and_no_new_one_starts() -> None:
    world = World()
    failed, acting = threading.Event(), threading.Event()

    def before(ctx: Context) -> None:
        acting.set()
        assert failed.wait(PATIENCE)
        # A wait inside an action is part of the action.
        ctx.wait(Gate(description="a pause", check=holds_at_look(3)))

    def fail_meanwhile(ctx: Context) -> str:
        assert acting.wait(PATIENCE)
        return fail(ctx)

    class Watch:
        def read(self, stamped: object) -> None:
            event = getattr(stamped, "event", None)
            if isinstance(event, StepMoved) and event.after is State.FAILED:
                failed.set()

    steps = (world.acting("two", effects=("x", "y"), before=before), reading("bad", fail_meanwhile))
    verdict = run_phases([phase("a", *steps)], readers=[Watch()])
    assert world.effects == ["x"]
    assert reason(verdict, "a/two") == "a/bad failed before action 2 of 2: make y"


def test_after_a_failure_a_gate_is_left_with_what_it_saw() -> None:
    waiting = threading.Event()

    def never(_ctx: Context) -> Observation[str]:
        waiting.set()
        return Observation(holds=False, seen="2 of 3 pods")

    def fail_meanwhile(ctx: Context) -> str:
        assert waiting.wait(PATIENCE)
        return fail(ctx)

    gate = Gate(description="pods", check=never, interval=0.0, timeout=1e9)
    steps = (World().acting("slow", gate=gate), reading("bad", fail_meanwhile))
    verdict = run_phases([phase("a", *steps, deadline=1e9)], target=1e9)
    assert states(verdict) == {"a/slow": "aborted", "a/bad": "failed"}
    assert reason(verdict, "a/slow") == "a/bad failed while this was waiting for pods, last seen: 2 of 3 pods"


def test_a_conflict_refuses_with_its_remedy_and_touches_nothing() -> None:
    problem = Problem("wrong disk", "inventory/lab.yaml", 3)

    def probe(_ctx: Context) -> Found[None, None]:
        return Conflict("another cluster's machine", cause="its id is x", remedy="reset it", problems=(problem,))

    verdict = run_phases([phase("a", Step(name="one", title="", probe=probe))])
    assert verdict.exit_code is ExitCode.INVALID
    assert verdict.failures[0].problems == (problem,)
    assert verdict.writes == 0


def test_the_first_failures_class_decides_the_exit_code() -> None:
    def refuse(_ctx: Context) -> str:
        raise InputError("broken", (Problem("bad"),))

    assert run_phases([phase("a", reading("one", refuse))]).exit_code is ExitCode.INVALID


def test_an_unexpected_error_is_one_line_and_its_traceback_an_event() -> None:
    recording = Recording()

    def burst(_ctx: Context) -> str:
        raise ValueError("two\nlines of hunter22")

    verdict = run_phases(
        [phase("a", reading("one", burst))],
        readers=[recording],
        redact=lambda text: text.replace("hunter22", "[redacted]"),
    )
    assert verdict.exit_code is ExitCode.FAILED
    assert verdict.failures[0].fact == "unexpected error: ValueError: two lines of [redacted]"
    event = next(event for event in recording.events if isinstance(event, UnexpectedError))
    assert "Traceback" in event.traceback
    assert "hunter22" not in event.traceback


def test_an_action_whose_effect_is_not_there_has_failed() -> None:
    def probe(_ctx: Context) -> Found[None, None]:
        return ToDo(None, "still missing")

    verdict = run_phases([phase("a", Step(name="one", title="", probe=probe))])
    assert verdict.failures[0].fact == "a/one did what it had to, but its effect is not there"
    assert verdict.failures[0].cause == "still missing"


def test_a_failing_action_is_recorded_with_its_error() -> None:
    recording = Recording()

    def before(ctx: Context) -> None:
        fail(ctx)

    verdict = run_phases([phase("a", World().acting("one", before=before))], readers=[recording])
    ended = next(event for event in recording.events if isinstance(event, ActionEnded))
    assert ended.error == "the disk is gone: no such device"
    assert verdict.writes == 1


def test_the_actions_of_a_run_are_those_that_the_events_announced() -> None:
    recording = Recording()
    verdict = run_phases([phase("a", World().acting("one", effects=("x", "y")))], readers=[recording])
    announced = [event.description for event in recording.events if isinstance(event, ActionStarted)]
    assert (
        announced == [action.description for step in verdict.steps() for action in step.actions] == ["make x", "make y"]
    )


def test_actions_that_write_nothing_leave_nothing_to_do() -> None:
    verdict = run_phases([phase("a", World().acting("pull", writes=False))])
    assert verdict.nothing_to_do


def test_proofs_of_probes_and_gates_end_in_the_verdict() -> None:
    proof, stand_in = Proof("pods run", "3 of 3"), Proof("BGP", "no router", ProofKind.STAND_IN)

    def check(_ctx: Context) -> Observation[None]:
        return Observation(holds=True, seen="it", proofs=(stand_in,))

    state = iter([False, True])

    def probe(_ctx: Context) -> Found[None, None]:
        return Done("there", None, (proof,)) if next(state) else ToDo(None)

    step = Step(name="one", title="", probe=probe, gate=lambda _ctx: Gate(description="it", check=check))
    verdict = run_phases([phase("a", step)])
    assert verdict.proofs() == (stand_in, proof)
    assert verdict.proofs(ProofKind.STAND_IN) == (stand_in,)


def test_a_run_over_its_targets_says_so() -> None:
    gate = Gate(description="a while", check=holds_at_look(8))
    verdict = run_phases(
        [phase("a", World().acting("slow", gate=gate), target=5.0), phase("b", reading("quick"))], target=6.0
    )
    assert [result.over_target for result in verdict.phases] == [True, False]
    assert verdict.over_target
    assert verdict.exit_code is ExitCode.DONE


def test_waiting_is_not_our_time() -> None:
    gate = Gate(description="a while", check=holds_at_look(8))
    verdict = run_phases([phase("a", World().acting("slow", gate=gate))])
    assert verdict.seconds == pytest.approx(7.0)
    assert verdict.ours_seconds == pytest.approx(0.0)
    assert verdict.outside == pytest.approx({"gate": 7.0})


def test_a_run_that_the_engine_itself_breaks_still_ends_in_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording()

    def burst(_self: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("bootstrap.engine.runner.Runner._start_ready", burst)
    verdict = run_phases([phase("a", reading("one"))], readers=[recording])
    assert verdict.state is State.FAILED
    assert verdict.exit_code is ExitCode.FAILED
    assert isinstance(recording.events[-1], RunEnded)
