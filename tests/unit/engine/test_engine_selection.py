from __future__ import annotations

from functools import partial

import pytest

from bootstrap.engine.graph import Graph
from bootstrap.engine.selection import names, select
from bootstrap.engine.testing import run_phases
from bootstrap.host.errors import ExitCode, InputError
from tests.unit.engine.world import World, phase, reading

PHASES = (
    phase("preflight", reading("programs"), reading("secrets")),
    phase("talos", reading("apply", needs=("secrets",)), reading("kubeconfig", needs=("apply",))),
    phase("core", reading("cilium", needs=("kubeconfig",)), reading("flux", needs=("cilium",))),
)


@pytest.mark.parametrize(
    ("only", "start", "skip", "acting", "probing"),
    [
        ((), "", (), "programs secrets apply kubeconfig cilium flux", ""),
        (("talos",), "", (), "apply kubeconfig", "secrets"),
        (("core",), "", (), "cilium flux", "secrets apply kubeconfig"),
        (("cilium", "preflight/programs"), "", (), "programs cilium", "secrets apply kubeconfig"),
        ((), "core", (), "cilium flux", "secrets apply kubeconfig"),
        ((), "talos/kubeconfig", (), "kubeconfig cilium flux", "secrets apply"),
        ((), "", ("preflight",), "apply kubeconfig cilium flux", "secrets"),
        ((), "talos", ("cilium",), "apply kubeconfig flux", "secrets cilium"),
        (("talos", "core"), "kubeconfig", ("flux",), "kubeconfig cilium", "secrets apply"),
    ],
)
def test_selection(only: tuple[str, ...], start: str, skip: tuple[str, ...], acting: str, probing: str) -> None:
    graph = Graph(PHASES)
    selection = select(graph, only=only, start=start, skip=skip)
    assert selection.acting == {graph.path(name) for name in acting.split()}
    assert selection.probing == {graph.path(name) for name in probing.split()}


def test_unknown_names_are_refused_all_at_once_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        select(Graph(PHASES), only=["cor"], start="kubeconfg", skip=["zzz"])
    texts = [str(problem) for problem in caught.value.problems]
    assert texts[0] == "--only: `cor` is no phase or step; nearest: core"
    assert texts[1].startswith("--from: `kubeconfg` is no phase or step; nearest: kubeconfig")
    assert texts[2] == "--skip: `zzz` is no phase or step"
    assert caught.value.remedy == "the phases are: preflight, talos, core"


def test_a_selection_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="leaves nothing"):
        select(Graph(PHASES), only=["talos"], skip=["talos"])


def test_names_for_completion() -> None:
    assert names(Graph(PHASES[:1])) == (
        "preflight", "programs", "preflight/programs", "secrets", "preflight/secrets",
    )  # fmt: skip


def test_what_was_not_selected_is_probed_when_needed_and_never_acted_on() -> None:
    world = World(effects=["one"])
    phases = [
        phase("a", world.acting("one"), world.acting("unrelated")),
        phase("b", world.acting("two", needs=("one",))),
    ]
    verdict = run_phases(phases, selection=partial(select, only=["b"]))
    assert world.effects == ["one", "two"]
    assert {step.path: (step.state.value, step.reason) for step in verdict.steps()} == {
        "a/one": ("skipped", "not selected; found done: one is there"),
        "a/unrelated": ("skipped", "not selected"),
        "b/two": ("done", "two is there"),
    }


def test_files_of_our_own_that_are_needed_are_made_though_not_selected() -> None:
    world = World()
    phases = [phase("a", world.acting("one", writes=False)), phase("b", world.acting("two", needs=("one",)))]
    chosen = partial(select, only=["b"])
    verdict = run_phases(phases, selection=chosen)
    assert (verdict.exit_code, world.effects) == (ExitCode.DONE, ["one", "two"])
    assert [step.state.value for step in verdict.steps()] == ["done", "done"]


def test_a_need_that_is_neither_done_nor_selected_is_refused_before_anything_is_changed() -> None:
    world = World()
    phases = [phase("a", world.acting("one")), phase("b", world.acting("two", needs=("one",)))]
    verdict = run_phases(phases, selection=partial(select, only=["b"]))
    assert verdict.exit_code is ExitCode.INVALID
    assert verdict.failures[0].fact == "a/one is not done and was not selected, but a selected step needs it"
    assert world.effects == []
