"""A plan is the run without the writes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from bootstrap.engine import (
    Action,
    Changes,
    Conflict,
    Context,
    Done,
    Foreseen,
    Found,
    Gate,
    Observation,
    Skip,
    Step,
    StepRef,
    ToDo,
)
from bootstrap.engine.context import UndeclaredNeedError
from bootstrap.engine.graph import Graph
from bootstrap.engine.plan import Outlook, Plan, PlannedStep, performed
from bootstrap.engine.planner import PlanBugError, make_plan
from bootstrap.engine.run import Settings
from bootstrap.engine.selection import everything, select
from bootstrap.engine.testing import run_phases
from bootstrap.host.errors import ExitCode, FirstlightError, InputError, Problem
from tests.unit.engine.world import World, holds_at_look, phase, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bootstrap.engine import Phase
    from bootstrap.engine.selection import Selection
    from bootstrap.engine.step import AnyStep

SETTINGS = Settings(cluster="lab", resume_command="invoke bootstrap --cluster lab", target=600.0)


def plan_of(phases: Sequence[Phase], *, selection: Callable[[Graph], Selection] = everything, **options: Any) -> Plan:
    graph = Graph(phases)
    return make_plan(graph, selection(graph), SETTINGS, **options)


def steps(plan: Plan) -> dict[str, PlannedStep]:
    return {step.path: step for phase in plan.phases for step in phase.steps}


def outlooks(plan: Plan) -> dict[str, str]:
    return {path: str(step.outlook) for path, step in steps(plan).items()}


def foreseeing(step: AnyStep, *effects: str, **options: Any) -> AnyStep:
    """A step of `World.acting` that says what it will find in an empty world."""
    return replace(step, foresee=lambda _ctx: Foreseen(effects or (step.name,), step.name, **options))


def unasked(name: str, **options: Any) -> AnyStep:
    """A step whose probe must not be called."""

    def probe(_ctx: Context) -> Found[None, str]:
        raise AssertionError(f"{name} was probed")

    return Step(name=name, title=name, probe=probe, **options)


def refusing(name: str, error: FirstlightError, **options: Any) -> AnyStep:
    def look(_ctx: Context) -> str:
        raise error

    return reading(name, look, **options)


def keeping(got: list[Any]) -> AnyStep:
    """Keeps the value of the step `one`."""

    def look(ctx: Context) -> str:
        got.append(ctx.value(StepRef[Any]("one")))
        return ""

    return reading("two", look, needs=("one",))


# from the files alone ------------------------------------------------------------------------------------------


def test_it_lists_what_a_run_would_do_and_does_none_of_it() -> None:
    world = World()
    gate = Gate(description="two to answer", check=holds_at_look(1), timeout=30)
    phases = [
        phase("a", foreseeing(world.acting("one"))),
        phase("b", foreseeing(world.acting("two", needs=("one",), effects=("x", "y"), gate=gate), "x", "y")),
    ]
    plan = plan_of(phases)
    assert plan.announced == (("a/one", 1, "make one"), ("b/two", 1, "make x"), ("b/two", 2, "make y"))
    assert (plan.count(), plan.count(Changes.CLUSTER), plan.count(Changes.MACHINES)) == (3, 3, 0)
    assert [part.count() for part in plan.phases] == [1, 2]
    waits = steps(plan)["b/two"].gate
    assert waits
    assert (waits.description, waits.seconds) == ("two to answer", 30)
    assert (plan.exit_code, world.effects) == (ExitCode.DONE, [])
    assert performed(run_phases(phases)) == plan.announced


# The same examples each time; each starts as many threads as it has steps.
@hypothesis(derandomize=True, deadline=None, max_examples=60)
@drawn(st.data())
def test_the_actions_of_a_run_in_an_empty_world_are_those_of_its_plan(data: st.DataObject) -> None:
    world = World()
    made: list[AnyStep] = []
    ours: set[str] = set()
    for number in range(data.draw(st.integers(1, 8))):
        needs = data.draw(st.sets(st.sampled_from([step.name for step in made]))) if made else set[str]()
        effects = tuple(f"{number}.{part}" for part in range(data.draw(st.integers(1, 3))))
        writes, foresees = data.draw(st.sampled_from([(True, True), (False, True), (False, False)]))
        step = world.acting(f"s{number}", needs=tuple(sorted(needs)), effects=effects, writes=writes)
        made.append(foreseeing(step, *effects) if foresees else step)
        ours |= set() if foresees else set(effects)
    cut = data.draw(st.integers(0, len(made)))
    phases = [phase("a", *made[:cut]), phase("b", *made[cut:])]
    announced = plan_of(phases).announced
    assert set(world.effects) == ours
    world.effects.clear()
    assert performed(run_phases(phases)) == announced


def test_a_step_that_says_what_it_foresees_is_not_probed() -> None:
    step = unasked("one", foresee=lambda _ctx: Foreseen(None, "value", known_after="boot", done=True, summary="so"))
    got: list[str] = []
    reads = keeping(got)
    plan = plan_of([phase("a", step, reads)])
    assert got == ["value"]
    found = steps(plan)["a/one"]
    assert (found.outlook, found.text, found.known_after) == (Outlook.DONE, "so", "boot")


def test_what_only_concerns_our_own_files_is_made_so_that_later_steps_have_it() -> None:
    world = World()
    got: list[str] = []
    reads = keeping(got)
    plan = plan_of([phase("a", world.acting("one", writes=False), reads)])
    assert plan.announced == (("a/one", 1, "make one"),)
    assert outlooks(plan) == {"a/one": "to do", "a/two": "done"}
    assert (world.effects, got) == (["one"], ["one"])


def test_an_early_step_that_stands_later_is_planned_before_who_needs_it() -> None:
    order: list[str] = []

    def note(name: str, **options: Any) -> AnyStep:
        def look(_ctx: Context) -> str:
            order.append(name)
            return name

        return reading(name, look, early=True, **options)

    plan = plan_of([phase("a", note("first", needs=("late",))), phase("b", note("late"))])
    assert order == ["late", "first"]
    assert list(outlooks(plan)) == ["a/first", "b/late"]


def test_a_step_that_writes_and_foresees_nothing_is_a_bug() -> None:
    world = World()
    with pytest.raises(PlanBugError, match="a/one changes cluster"):
        plan_of([phase("a", world.acting("one"))])
    assert world.effects == []


def test_a_step_that_waits_while_it_is_planned_is_a_bug() -> None:
    def look(ctx: Context) -> str:
        ctx.wait(Gate(description="the sun", check=holds_at_look(1)))
        return ""

    with pytest.raises(PlanBugError, match="waits for the sun"):
        plan_of([phase("a", reading("one", look))])


def test_a_value_that_was_not_declared_is_a_bug() -> None:
    one = reading("one")
    with pytest.raises(UndeclaredNeedError, match="without needing it"):
        plan_of([phase("a", one, reading("two", lambda ctx: ctx.value(one)))])


def test_every_problem_is_found_at_once_and_dependants_are_not_planned() -> None:
    problems = (Problem("no such key", "a.yaml", 3, 5), Problem("wrong", "b.yaml", 1))

    def refuse(_ctx: Context) -> Found[None, None]:
        return Conflict("two files are wrong", problems=problems, exit_code=ExitCode.FAILED)

    plan = plan_of(
        [
            phase("a", Step(name="files", title="", probe=refuse), unasked("child", needs=("files",))),
            phase("b", refusing("chart", FirstlightError("no chart", cause="404")), reading("fine")),
        ]
    )
    assert outlooks(plan) == {"a/files": "refused", "a/child": "unknown", "b/chart": "refused", "b/fine": "done"}
    assert steps(plan)["a/child"].text == "needs a/files"
    assert [failure.fact for failure in plan.failures] == ["two files are wrong", "no chart"]
    assert plan.failures[0].problems == problems
    assert plan.exit_code is ExitCode.INVALID


def test_a_step_that_does_not_apply_gives_its_value_all_the_same() -> None:
    def probe(_ctx: Context) -> Found[None, int]:
        return Skip("not here", 7)

    got: list[int] = []
    reads = keeping(got)
    plan = plan_of([phase("a", Step(name="one", title="", probe=probe), reads)])
    assert (outlooks(plan)["a/one"], steps(plan)["a/one"].text, got) == ("skipped", "not here", [7])


def test_an_effect_of_our_own_that_is_not_there_afterwards_is_told() -> None:
    def probe(_ctx: Context) -> Found[None, None]:
        return ToDo(None, "no space left")

    plan = plan_of([phase("a", Step(name="one", title="", probe=probe))])
    assert (plan.failures[0].fact, plan.failures[0].cause) == (
        "a/one did what it had to, but its effect is not there", "no space left",
    )  # fmt: skip


def test_what_was_not_selected_is_not_planned_unless_it_is_needed() -> None:
    world = World()
    phases = [
        phase("a", foreseeing(world.acting("one")), unasked("other")),
        phase("b", foreseeing(world.acting("two", needs=("one",)))),
    ]
    plan = plan_of(phases, selection=lambda graph: select(graph, only=["b"]))
    assert plan.announced == (("b/two", 1, "make two"),)
    assert (steps(plan)["a/one"].outlook, steps(plan)["a/one"].text) == (
        Outlook.SKIPPED, "not selected; a run must find it done",
    )  # fmt: skip
    assert steps(plan)["a/other"].text == "not selected"


def test_files_of_our_own_that_are_needed_are_planned_though_not_selected() -> None:
    world = World()
    phases = [
        phase("a", world.acting("one", writes=False)),
        phase("b", foreseeing(world.acting("two", needs=("one",)))),
    ]
    plan = plan_of(phases, selection=lambda graph: select(graph, only=["b"]))
    assert plan.announced == (("a/one", 1, "make one"), ("b/two", 1, "make two"))


def test_given_values_stand_for_steps_that_are_not_gone_through() -> None:
    got: list[str] = []
    reads = keeping(got)
    plan = plan_of([phase("a", unasked("one"), reads)], given={"one": "mine"})
    assert (got, outlooks(plan)) == (["mine"], {"a/one": "done", "a/two": "done"})


def test_notes_name_their_step() -> None:
    notes: list[str] = []

    def look(ctx: Context) -> str:
        ctx.note("an overlay")
        return ""

    plan_of([phase("a", reading("one", look))], note=notes.append)
    assert notes == ["a/one: an overlay"]


# in the world as it is -----------------------------------------------------------------------------------------


def previewing(world: World, name: str, preview: Callable[[Context], str], **options: Any) -> AnyStep:
    step = foreseeing(world.acting(name, **options))

    def actions(ctx: Context, facts: object) -> list[Action]:
        return [replace(action, preview=preview) for action in step.actions(ctx, facts)]

    return replace(step, actions=actions)


def test_a_converged_world_has_nothing_to_do() -> None:
    world = World(effects=["one", "two"])
    phases = [phase("a", foreseeing(world.acting("one")), foreseeing(world.acting("two", needs=("one",))))]
    plan = plan_of(phases, live=True)
    assert outlooks(plan) == {"a/one": "done", "a/two": "done"}
    assert steps(plan)["a/one"].text == "one is there"
    assert (plan.announced, plan.exit_code) == ((), ExitCode.DONE)


def test_what_is_left_to_do_is_found_and_what_follows_is_known_after_it() -> None:
    world = World(effects=["one", "x"])
    phases = [
        phase(
            "a",
            foreseeing(world.acting("one")),
            foreseeing(world.acting("two", needs=("one",), effects=("x", "y"))),
            replace(unasked("three", needs=("two",)), foresee=lambda _ctx: Foreseen(None, "")),
            foreseeing(world.acting("four", needs=("one",))),
        )
    ]
    plan = plan_of(phases, live=True)
    assert plan.announced == (("a/two", 1, "make y"), ("a/four", 1, "make four"))
    assert [step.known_after for step in steps(plan).values()] == ["", "", "two", ""]
    assert plan.exit_code is ExitCode.CHANGES
    assert world.effects == ["one", "x"]
    assert performed(run_phases([phase("a", *phases[0].steps[:2])])) == plan.announced[:1]


def test_an_action_shows_what_exactly_would_change() -> None:
    world = World()
    step = previewing(world, "one", lambda ctx: f"+ {ctx.path}")
    assert steps(plan_of([phase("a", step)], live=True))["a/one"].actions[0].preview == "+ a/one"
    assert steps(plan_of([phase("a", step)]))["a/one"].actions[0].preview == ""


def test_a_preview_that_is_refused_refuses_the_step() -> None:
    def refuse(_ctx: Context) -> str:
        raise InputError("no disk matches", (Problem("/dev/vda is not there"),))

    plan = plan_of([phase("a", previewing(World(), "one", refuse))], live=True)
    assert (plan.failures[0].fact, plan.exit_code) == ("no disk matches", ExitCode.INVALID)


def test_files_of_our_own_are_no_change_of_the_world() -> None:
    plan = plan_of([phase("a", World().acting("one", writes=False))], live=True)
    assert (plan.count(), plan.exit_code) == (1, ExitCode.DONE)


def test_a_needed_step_that_is_not_done_is_refused_as_in_a_run() -> None:
    world = World()
    phases = [phase("a", foreseeing(world.acting("one"))), phase("b", foreseeing(world.acting("two", needs=("one",))))]

    def only_b(graph: Graph) -> Selection:
        return select(graph, only=["b"])

    plan = plan_of(phases, live=True, selection=only_b)
    verdict = run_phases(phases, selection=only_b)
    assert [failure.fact for failure in plan.failures] == [failure.fact for failure in verdict.failures]
    assert (plan.exit_code, verdict.exit_code) == (ExitCode.INVALID, ExitCode.INVALID)
    world.effects.append("one")
    found = steps(plan_of(phases, live=True, selection=only_b))["a/one"]
    assert (found.outlook, found.text) == (Outlook.SKIPPED, "not selected; found done: one is there")


def test_a_gate_that_is_not_held_yet_is_shown_without_actions() -> None:
    def probe(_ctx: Context) -> Found[None, str]:
        return ToDo(None, "1 of 3 pods")

    def check(_ctx: Context) -> Observation[str]:
        raise AssertionError("a gate was looked at")

    step = Step(
        name="one", title="", probe=probe, gate=lambda _ctx: Gate(description="three pods", check=check),
        foresee=lambda _ctx: Foreseen(None, ""),
    )  # fmt: skip
    plan = plan_of([phase("a", step)], live=True)
    found = steps(plan)["a/one"]
    assert (found.text, found.gate and found.gate.description) == ("1 of 3 pods", "three pods")
    assert plan.exit_code is ExitCode.DONE


def test_done_without_evidence_of_a_value() -> None:
    def probe(_ctx: Context) -> Found[None, None]:
        return Done("seen", None)

    plan = plan_of([phase("a", Step(name="one", title="", probe=probe), reading("two", needs=("one",)))], live=True)
    assert outlooks(plan) == {"a/one": "done", "a/two": "done"}
