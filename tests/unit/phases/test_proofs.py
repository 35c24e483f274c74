from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine import Phase
from bootstrap.engine.machine import State
from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.engine.testing import run_phases
from bootstrap.host.errors import FirstlightError
from phases.proofs import Proving, forget, kind_of, proofs_folder, proving_step
from phases.refs import API, CORE_RELEASES, FILES
from phases.world import Access
from tests import worlds

if TYPE_CHECKING:
    from bootstrap.engine.verdict import StepResult
    from gitops.tree import Name
    from phases.refs import CoreRelease

ROOT = Path(__file__).parents[3]
CILIUM, COREDNS = CORE_RELEASES[:2]


@dataclass
class Tree:
    """A tree that has these releases."""

    names: tuple[str, ...]

    def find(self, _group: str, _kind: str, name: Name) -> object | None:
        return name if name.name in self.names else None


@dataclass
class Api:
    """A cluster that says which one it is."""

    uid: str

    def identity(self) -> str:
        return self.uid


@dataclass
class Place:
    """A cluster and what proving something about it gives, run after run."""

    state: Path
    identity: str = "one"
    releases: tuple[CoreRelease, ...] = (CILIUM, COREDNS)
    has: tuple[str, ...] = ("cilium", "coredns")
    kind: ProofKind = ProofKind.PROVEN
    broken: bool = False
    may_pass: bool = False
    asked: int = 0

    def run(self, *, prove: bool = False) -> StepResult:
        """A run of its own."""
        world = worlds.world(self.state, prove=prove)
        values: dict[str, Any] = {
            FILES.name: Tree(self.has), API.name: Access(Api(self.identity), Path()),  # type: ignore[arg-type] # only identity is asked
            "cilium": None, "coredns": None,
        }  # fmt: skip
        proving = Proving(
            name="names", title="names", description="ask", releases=self.releases, prove=lambda _: self.prove(),
            may_pass=self.may_pass,
        )  # fmt: skip
        verdict = run_phases(
            [Phase(name="core", title="core", steps=(proving_step(world, proving),), target=60.0)], values=values
        )
        (phase,) = (phase for phase in verdict.phases if phase.name == "core")
        return phase.steps[0]

    def prove(self) -> tuple[Proof, ...]:
        self.asked += 1
        if self.broken:
            raise FirstlightError("DNS does not work")
        return (Proof("names resolve", "seen", self.kind),)

    def age(self, seconds: float) -> None:
        """Let time pass."""
        path = proofs_folder(worlds.world(self.state)) / "names.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "time": time.time() - seconds}))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_proof_is_given_once_and_then_shown_with_its_age(place: Place) -> None:
    first = place.run()
    assert (first.state, first.reason) == (State.DONE, "seen")
    place.age(7200)
    later = place.run()
    assert (later.state, later.reason, later.actions) == (State.DONE, "seen (2 h ago)", ())
    assert later.proofs == (Proof("names resolve", "seen (2 h ago)"),)
    assert place.asked == 1


def test_who_asks_for_it_gets_another(place: Place) -> None:
    place.run()
    again = place.run(prove=True)
    assert (again.reason, place.asked) == ("seen", 2)
    assert again.actions[0].reason == "--prove asks for another"


@pytest.mark.parametrize("release", ["cilium", "coredns"])
def test_what_is_changed_has_to_be_proven_again(release: str, place: Place) -> None:
    place.run()
    forget(worlds.world(place.state), release)
    place.run()
    assert place.asked == 2


def test_a_change_of_something_else_leaves_the_proof(place: Place) -> None:
    place.run()
    forget(worlds.world(place.state), "spegel")
    place.run()
    assert place.asked == 1


def test_another_cluster_is_another_matter(place: Place) -> None:
    place.run()
    place.identity = "two"
    place.run()
    assert place.asked == 2


def test_what_failed_is_not_kept_and_neither_is_what_was_proven_before(place: Place) -> None:
    place.run()
    place.broken = True
    failed = place.run(prove=True)
    assert failed.failure
    assert failed.failure.fact == "DNS does not work"
    assert place.run().state is State.FAILED
    place.broken = False
    assert (place.run().reason, place.asked) == ("seen", 4)


def test_what_could_not_be_asked_is_kept_as_unproven(place: Place) -> None:
    place.kind = ProofKind.UNPROVEN
    assert place.run().reason == "unproven: seen"
    place.age(90)
    later = place.run()
    assert later.reason == "unproven: seen (1 min ago)"
    assert [proof.kind for proof in later.proofs] == [ProofKind.UNPROVEN]
    assert place.asked == 1


def test_what_a_late_pod_left_unproven_is_asked_again_until_it_is_proven(place: Place) -> None:
    place.may_pass, place.kind = True, ProofKind.UNPROVEN
    assert place.run().reason == "unproven: seen"
    place.kind = ProofKind.PROVEN
    again = place.run()
    assert (again.reason, again.actions[0].reason) == ("seen", "it could not be given last time")
    assert (place.run().actions, place.asked) == ((), 2)


def test_a_tree_without_the_release_has_nothing_to_prove(place: Place) -> None:
    place.has = ("cilium",)
    step = place.run()
    assert (step.state, step.reason) == (State.SKIPPED, "the tree has no HelmRelease coredns")
    assert place.asked == 0


@pytest.mark.parametrize("content", ["", "[]", "{", '{"cluster": "two"}'])
def test_a_file_that_nobody_can_read_is_no_proof(content: str, place: Place) -> None:
    place.run()
    (proofs_folder(worlds.world(place.state)) / "names.json").write_text(content)
    place.run()
    assert place.asked == 2
    (proofs_folder(worlds.world(place.state)) / "names.json").write_text(content)
    forget(worlds.world(place.state), "spegel")


def test_a_stand_in_makes_a_proof_one_by_a_stand_in(place: Place) -> None:
    world = worlds.world(place.state, stand_ins=frozenset({"cilium"}))
    assert kind_of(world, (CILIUM, COREDNS)) is ProofKind.STAND_IN
    assert kind_of(world, (COREDNS,)) is ProofKind.PROVEN


def test_a_proof_is_private(place: Place) -> None:
    place.run()
    (file,) = proofs_folder(worlds.world(place.state)).iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
