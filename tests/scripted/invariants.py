"""The invariants of shared/facts/faults.md that hold after every scenario of this ring."""

from __future__ import annotations

from collections import Counter
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.engine.journal_contents import Kind
from bootstrap.engine.journal_file import read
from bootstrap.engine.lock import read_owner
from bootstrap.host.errors import ExitCode
from inventory.loader import load
from phases import proofs, session
from phases.refs import CORE_RELEASES
from tests.scripted.canaries import canaries, leaks
from tests.scripted.recordings import ROOT

if TYPE_CHECKING:
    from tests.scripted.model import Effect
    from tests.scripted.scenario import Ran, Scenario

# A process that was killed leaves no code of its own.
_KILLED = -9
# The steps whose actions have these effects; of those that write objects the effect does not say which.
_STEPS = {
    "apply-config": ("talos/install",),
    "bootstrap": ("talos/etcd",),
    "approve": ("talos/serving-certificates",),
    "restart": ("talos/nodes",),
}
_WRITING = ("prerequisites/resources", "crds/definitions")
_WRITTEN = ("Namespace ", "Secret ", "CustomResourceDefinition ")


def check(scenario: Scenario, wanted: list[Any], *ran: Ran) -> None:
    """After a fault and the runs that followed it: all but I3 and I6.

    Args:
        scenario: where it happened.
        wanted: the final world of an undisturbed run.
        ran: what ran, in order.
    """
    done = Counter(f"{one.kind} {one.what}" for one in scenario.changes())
    twice = [what for what, count in done.items() if count > 1]
    assert not twice, f"I1: done more than once: {twice}"
    bootstrapped_safely(scenario)
    assert scenario.final_world() == wanted, "I2: the world differs from that of an undisturbed run"
    only_ours(scenario)
    codes = {one.exit_code for one in ran}
    assert codes <= {*map(int, ExitCode), _KILLED}, f"I7: exit codes {codes}"
    assert read_owner(scenario.journal.parent) is None, "I7: the lock outlived its run"
    no_secrets(scenario)
    journal_is_true(scenario)


def converged(scenario: Scenario, **order: Any) -> None:
    """I3: a run on a converged cluster changes nothing and is content."""
    before = scenario.effects()
    ran = scenario.run(**order)
    assert ran.exit_code == 0, ran.stderr
    assert scenario.effects() == before, "I3: a converged cluster was changed"


def bootstrapped_safely(scenario: Scenario) -> None:
    """I1: no bootstrap was sent while another control plane had data or could not be asked."""
    assert scenario.told("unsafe bootstrap") is None, f"I1: bootstrapped beside {scenario.told('unsafe bootstrap')}"


def only_ours(scenario: Scenario) -> None:
    """I5: everything was done to the cluster of the store."""
    foreign = [one for one in scenario.effects() if not one.what.endswith(scenario.cluster_id)]
    assert not foreign, f"I5: another cluster was changed: {foreign}"


def no_secrets(scenario: Scenario) -> None:
    """I4: no planted secret outside of the places that are made for it."""
    state = scenario.journal.parent
    private = [scenario.store, state / "kubeconfig", state / "talosconfig"]
    found = leaks(scenario.place, canaries(scenario.store), [*private, *scenario.place.glob("world*")])
    assert not found, f"I4: {found}"


def journal_is_true(scenario: Scenario) -> None:
    """I8: the journal can be read, announces every effect, and calls nothing done that was not."""
    assert scenario.remembered().runs
    records = read(scenario.journal).entries
    announced = {record.holds["step"] for record in records if record.kind == Kind.ACTION_BEGINS}
    happened = {step for effect in scenario.effects() for step in _steps(effect)}
    silent = [effect for effect in scenario.effects() if not announced & set(_steps(effect))]
    assert not silent, f"I8: nothing announced {silent}"
    done = {
        record.holds["step"] for record in records if record.kind == Kind.ACTION_ENDED and not record.holds["error"]
    }
    untrue = {step for step in done if step in _EVERY and step not in happened}
    assert not untrue, f"I8: called done, and was not: {untrue}"


def _steps(effect: Effect) -> tuple[str, ...]:
    if effect.kind == "sync":
        return (f"core/{effect.what.partition(' ')[0]}",)
    if effect.kind == "swap":
        return tuple(f"core/{one.name}" for one in CORE_RELEASES if f".{one.name}.v" in effect.what)
    if effect.kind == "delete" or (effect.kind == "write" and not effect.what.startswith(_WRITTEN)):
        return _proving()
    return _STEPS.get(effect.kind, _WRITING)


@cache
def _proving() -> tuple[str, ...]:
    """The steps that give proofs: what nobody else writes is made by them, and deleted again."""
    graph = session.outline(session.Request(ROOT, Path(), load(ROOT, "lab"), ""))
    probes = ((path, node.step.probe) for path, node in graph.nodes.items())
    return tuple(path for path, probe in probes if isinstance(probe, partial) and probe.func is proofs._probe)


# Steps of which every action has an effect on the world.
_EVERY = {"talos/install", "talos/etcd", *_WRITING, *(f"core/{release.name}" for release in CORE_RELEASES)}
