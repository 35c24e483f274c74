from __future__ import annotations

import pytest

from bootstrap.engine.graph import Graph, GraphError
from tests.unit.engine.world import phase, reading


def test_steps_come_after_all_earlier_phases_unless_they_are_early() -> None:
    graph = Graph(
        [
            phase("a", reading("one")),
            phase("b", reading("two"), reading("soon", early=True)),
            phase("c", reading("three")),
        ]
    )
    assert graph.nodes["b/two"].after == {"a/one"}
    assert graph.nodes["b/soon"].after == frozenset()
    assert graph.nodes["c/three"].after == {"a/one", "b/two", "b/soon"}


def test_needs_reach_through_other_steps() -> None:
    graph = Graph([phase("a", reading("one"), reading("two", needs=("one",)), reading("three", needs=("two",)))])
    assert graph.nodes["a/three"].needs == {"a/one", "a/two"}
    assert graph.dependants["a/one"] == {"a/two", "a/three"}


@pytest.mark.parametrize(
    ("phases", "text"),
    [
        ([phase("a", reading("one")), phase("a", reading("two"))], "the phase a stands twice"),
        ([phase("a", reading("one")), phase("b", reading("one"))], "the step one stands twice"),
        ([phase("a", reading("one", needs=("nine",)))], "needs nine, which is no step"),
        ([phase("a", reading("one", needs=("two",)), reading("two", needs=("one",)))], "in a circle"),
        ([phase("a", reading("one", needs=("two",))), phase("b", reading("two"))], "what a later phase does"),
    ],
)
def test_what_cannot_run_is_refused(phases: list[object], text: str) -> None:
    with pytest.raises(GraphError, match=text):
        Graph(phases)  # type: ignore[arg-type]  # pytest's parameters lose the element type
