from __future__ import annotations

from dataclasses import replace

import pytest

from bootstrap.engine.graph import Graph, GraphError
from bootstrap.engine.selection import select
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


def test_a_step_comes_after_those_that_it_names_and_does_not_need_them() -> None:
    later = replace(reading("later"), after=("proof",))
    graph = Graph([phase("a", reading("proof")), phase("b", replace(later, early=True), reading("other"))])
    assert graph.nodes["b/later"].after == {"a/proof"}
    assert graph.nodes["b/later"].needs == frozenset()
    assert "b/later" in graph.dependants["a/proof"]
    assert select(graph, only=["later"]).probing == frozenset()


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
        ([phase("a", replace(reading("one"), after=("nine",)))], "needs nine, which is no step"),
        ([phase("a", reading("one", needs=("two",)), reading("two", needs=("one",)))], "in a circle"),
        (
            [phase("a", replace(reading("one"), after=("two",)), reading("two", needs=("one",)))],
            "what comes after them",
        ),
        ([phase("a", reading("one", needs=("two",))), phase("b", reading("two"))], "what comes after them"),
    ],
)
def test_what_cannot_run_is_refused(phases: list[object], text: str) -> None:
    with pytest.raises(GraphError, match=text):
        Graph(phases)  # type: ignore[arg-type]  # pytest's parameters lose the element type
