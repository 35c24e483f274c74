"""Any graph of steps: a step starts after its needs, and a failure aborts exactly its dependants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.engine.events import StepMoved
from bootstrap.engine.graph import Graph
from bootstrap.engine.machine import FINAL_STATES, State
from bootstrap.engine.testing import Recording, run_phases
from bootstrap.host.errors import FirstlightError
from tests.unit.engine.world import phase, reading

if TYPE_CHECKING:
    from bootstrap.engine import Context, Phase

# Each example starts threads; more than these find nothing that fewer do not.
EXAMPLES = settings(max_examples=60, deadline=None)


def fail(_ctx: Context) -> str:
    raise FirstlightError("it failed")


@st.composite
def phase_lists(draw: st.DrawFn, *, failing: int) -> tuple[list[Phase], set[str]]:
    """Up to 3 phases of up to 4 reading steps that need some of the steps before them, `failing` of them broken."""
    layout = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    names = [f"s{number}" for number in range(sum(layout))]
    broken = set(draw(st.permutations(names))[:failing])
    phases, used = [], 0
    for number, size in enumerate(layout):
        steps = []
        for name in names[used : used + size]:
            before = names[: names.index(name)]
            needs = tuple(sorted(draw(st.sets(st.sampled_from(before), max_size=3)))) if before else ()
            look = fail if name in broken else (lambda _ctx: "there")
            steps.append(reading(name, look, needs=needs, early=draw(st.booleans())))
        phases.append(phase(f"p{number}", *steps))
        used += size
    return phases, broken


@EXAMPLES
@given(phase_lists(failing=0), st.integers(1, 4))
def test_a_step_starts_only_after_all_it_waits_for(made: tuple[list[Phase], set[str]], workers: int) -> None:
    phases, _ = made
    recording, graph = Recording(), Graph(phases)
    verdict = run_phases(phases, readers=[recording], workers=workers)
    moves = [event for event in recording.events if isinstance(event, StepMoved)]
    started = {move.step: place for place, move in enumerate(moves) if move.after is State.PROBING}
    ended = {move.step: place for place, move in enumerate(moves) if move.after in FINAL_STATES}
    assert verdict.state is State.DONE
    assert all(
        ended[before] < started[path] for path, node in graph.nodes.items() for before in node.needs | node.after
    )


@EXAMPLES
@given(phase_lists(failing=1), st.integers(1, 4))
def test_a_failure_aborts_exactly_its_dependants_and_phases_not_begun(
    made: tuple[list[Phase], set[str]], workers: int
) -> None:
    phases, broken = made
    graph = Graph(phases)
    verdict = run_phases(phases, workers=workers)
    state = {step.path: step.state for step in verdict.steps()}
    begun = {result.name for result in verdict.phases if result.began is not None}
    failed = graph.path(next(iter(broken)))
    not_begun = {path for path, node in graph.nodes.items() if node.phase.name not in begun and not node.step.early}
    hindered = {path for path in graph.nodes if graph.nodes[path].needs & not_begun or path in not_begun}
    aborted = {path for path, each in state.items() if each is State.ABORTED}
    assert state[failed] is State.FAILED
    assert graph.dependants[failed] <= aborted
    assert aborted == graph.dependants[failed] | hindered
    assert all(each in FINAL_STATES for each in state.values())
    assert len(verdict.failures) == 1
