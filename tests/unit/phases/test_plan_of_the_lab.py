"""The plan of the lab, made of the repository's own files with the real programs, and no world to ask."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine.graph import Graph
from bootstrap.engine.plan import Outlook, Plan, PlannedStep
from bootstrap.engine.planner import make_plan
from bootstrap.engine.run import Settings
from bootstrap.engine.selection import everything
from bootstrap.host.commands import Command, Result, ShCommandRunner
from bootstrap.host.errors import ExitCode
from bootstrap.host.secret import Redactor
from bootstrap.views.plan import as_json, as_text
from inventory.loader import load
from inventory.model import SecretProvider, SecretReference, SecretSettings
from phases import foresight, plan
from phases.catalogue import build
from phases.foresight import TouchedError
from phases.refs import CHARTS, EXTRACT
from talos import bundle as bundles
from talos.client import Talosctl
from talos.probe import Observation, State
from tests import worlds
from tests.unit.phases.rack import Rack

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.world import World

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = ("kustomize", "talosctl")
SETTINGS = Settings(cluster="lab", resume_command="./invoke bootstrap --cluster lab", target=1.0)
DEFINITION = {"kind": "CustomResourceDefinition", "metadata": {"name": "things.example.org"}}
# What needs a registry to pull from is not gone through here.
GIVEN: dict[str, object] = {CHARTS.name: b"", EXTRACT.name: (DEFINITION,)}
# All that a run of the lab does, from nothing.
ACTIONS = (
    ("preflight/charts", 1, "leave chart, version and values where helmfile reads them"),
    ("talos/install", 1, "apply the machine configuration to lab-01 at 10.25.13.111"),
    ("talos/etcd", 1, "bootstrap etcd on lab-01"),
    ("talos/api", 1, "write kubeconfig and talosconfig of our own identity, mode 0600"),
    ("talos/nodes", 1, "restart the kubelet of lab-01 where no node is registered yet"),
    (
        "prerequisites/resources", 1,
        (
            "apply Namespace cert-manager, Namespace external-secrets, Namespace flux-system, "
            "Secret external-secrets/onepassword-connect-token"
        ),
    ),
    ("crds/definitions", 1, "apply the definitions things.example.org"),
    ("core/cilium", 1, "install release kube-system/cilium: helmfile sync -l name=cilium --skip-needs"),
    ("core/coredns", 1, "install release kube-system/coredns: helmfile sync -l name=coredns --skip-needs"),
    (
        "core/flux-operator", 1,
        "install release flux-system/flux-operator: helmfile sync -l name=flux-operator --skip-needs",
    ),
    ("core/pod-network", 1, "ask from a pod for the API at a node's address and at its ClusterIP"),
    ("core/names", 1, "ask from a pod for CoreDNS at its ClusterIP, a name inside and a name outside"),
    ("core/baseline", 1, "note revision, generations and pods of each release"),
    (
        "core/flux-instance", 1,
        "install release flux-system/flux-instance: helmfile sync -l name=flux-instance --skip-needs",
    ),
    ("handover/adoption", 1, "keep the proof of adoption"),
)  # fmt: skip


class Answering:
    """Runs programs for real, but answers talosctl's questions as a node in maintenance mode does."""

    def __init__(self, said: str = "Dry run summary:\nNode is running in maintenance mode.\n") -> None:
        self.asked: list[str] = []
        self._said = said
        self._real = ShCommandRunner(Redactor())
        self._rack = Rack(load(ROOT, "lab"), State.MAINTENANCE)

    def run(self, command: Command) -> Result:
        self.asked.append(str(command))
        if "apply-config" in command.arguments:
            return Result(0, b"", self._said.encode(), 0.1)
        if "--insecure" in command.arguments:
            return self._rack.run(command)
        return self._real.run(command)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The data of this repository, to be broken."""
    for name in ("bootstrap/helmfile.d", "inventory", "kubernetes", "talos"):
        shutil.copytree(ROOT / name, tmp_path / "root" / name, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name in ("probe.yaml", "resources.yaml"):
        shutil.copy(ROOT / "bootstrap" / name, tmp_path / "root" / "bootstrap")
    return tmp_path / "root"


@pytest.fixture
def world(root: Path, programs: Callable[[str], Path]) -> World:
    runner = Answering()
    talosctl = Talosctl(programs("talosctl"), runner)
    found = {name: programs(name) for name in PROGRAMS}
    return worlds.world(
        root / ".firstlight" / "lab", root=root, cluster=load(root, "lab"), runner=runner, talosctl=talosctl,
        programs={**found, "helmfile": Path("/no/helmfile"), "helm": Path("/no/helm")},
        observe=foresight.untouched, connect=foresight.untouched,
    )  # fmt: skip


def plan_of(world: World, folder: Path, *, live: bool = False) -> Plan:
    graph = Graph(build(plan.aside(world, folder, live=live)))
    return make_plan(graph, everything(graph), SETTINGS, live=live, given=GIVEN)


def steps(found: Plan) -> dict[str, PlannedStep]:
    return {step.path.partition("/")[2]: step for phase in found.phases for step in phase.steps}


def test_it_asks_nobody_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    found = plan_of(world, tmp_path / "aside")
    assert found.announced == ACTIONS
    assert (found.failures, found.exit_code) == ((), ExitCode.DONE)
    assert not world.state.exists()
    assert isinstance(world.runner, Answering)
    assert {words.partition(" ")[0] for words in world.runner.asked} == set(PROGRAMS)


def test_two_plans_of_the_same_files_are_the_same_to_the_byte(world: World, tmp_path: Path) -> None:
    first, second = plan_of(world, tmp_path / "first"), plan_of(world, tmp_path / "second")
    assert as_text(first) == as_text(second)
    assert as_json(first) == as_json(second)


def test_secrets_are_shown_by_their_reference(world: World, tmp_path: Path) -> None:
    shown = as_text(plan_of(world, tmp_path / "aside"))
    assert "<secret: op://lab/talos-lab/bundle>" in shown
    assert "<secret: op://lab/onepassword-connect/token>" in shown


def test_throw_away_secrets_never_touch_the_disk(world: World, tmp_path: Path) -> None:
    made: list[bytes] = []
    bundle = foresight.credentials(world).bundle
    made += [secret.reveal() for secret in bundle.sensitive]
    plan_of(world, tmp_path / "aside")
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert made
    assert not [content for content in kept if b"BEGIN" in content or any(secret in content for secret in made)]
    assert all(
        secret.reveal().decode() not in world.redactor.redact(secret.reveal().decode()) for secret in bundle.sensitive
    )


def test_the_stand_in_for_a_cluster_refuses_every_question(world: World) -> None:
    with pytest.raises(TouchedError, match="list_objects"):
        foresight.access(world).api.list_objects(("v1", "Node"))
    with pytest.raises(TouchedError):
        foresight.untouched("10.0.0.1", b"")


def test_wrong_files_are_all_told_at_once_each_with_its_place(world: World, root: Path, tmp_path: Path) -> None:
    node = root / "talos" / "lab" / "controlplane" / "lab-01.yaml"
    node.write_text(node.read_text().replace("machine:\n", "machine:\n  spelled: wrong\n", 1))
    release = root / "kubernetes/infrastructure/networking/coredns/helmrelease.yaml"
    release.write_text(release.read_text().replace("kind: OCIRepository", "kind: HelmRepository"))
    found = plan_of(world, tmp_path / "aside")
    assert found.exit_code is ExitCode.INVALID
    problems = [problem for failure in found.failures for problem in failure.problems]
    assert {problem.path for problem in problems} == {
        "talos/lab/controlplane/lab-01.yaml", "kubernetes/infrastructure/networking/coredns/helmrelease.yaml",
    }  # fmt: skip
    assert all(problem.line and problem.column for problem in problems)
    assert steps(found)["cilium"].outlook is Outlook.UNKNOWN
    assert steps(found)["resources"].text == "needs talos/api"


# live ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def live(world: World, tmp_path: Path) -> World:
    """A world whose machine is in maintenance mode, with the secrets of an operator."""
    (tmp_path / "bundle").write_bytes(bundles.generate(world.talosctl).reveal())
    (tmp_path / "token").write_text("an operator's token")
    references = (SecretReference(f"file://{tmp_path / name}") for name in ("bundle", "token"))
    secrets = SecretSettings(SecretProvider.FILE, "", *references)
    return replace(
        world,
        cluster=replace(world.cluster, secrets=secrets),
        commit="1" * 40,
        observe=lambda *_: Observation(State.MAINTENANCE, "in maintenance mode"),
    )


def test_live_it_finds_what_is_there_and_what_a_run_would_do(live: World, tmp_path: Path) -> None:
    found = plan_of(live, tmp_path / "aside", live=True)
    assert found.failures == ()
    assert found.exit_code is ExitCode.CHANGES
    assert found.announced == ACTIONS
    by_name = steps(found)
    assert {name for name, step in by_name.items() if step.outlook is Outlook.DONE and not step.known_after} == {
        "programs", "files", "secrets", "commit", "releases-render", "guards", "machines", "render", "extract",
        "probe-pod",
    }  # fmt: skip
    assert by_name["install"].actions[0].preview == "Node is running in maintenance mode."
    assert [by_name[name].known_after for name in ("etcd", "api", "resources", "cilium")] == [
        "install", "etcd", "api", "api, nodes, resources, definitions",
    ]  # fmt: skip


def test_live_a_foreign_machine_is_refused(live: World, tmp_path: Path) -> None:
    foreign = replace(live, observe=lambda *_: Observation(State.FOREIGN, "another CA"))
    found = plan_of(foreign, tmp_path / "aside", live=True)
    assert found.exit_code is ExitCode.INVALID
    assert found.failures[0].fact == "machines are configured with the secrets of another cluster"
    assert steps(found)["install"].outlook is Outlook.UNKNOWN


def test_live_the_real_state_is_read_and_never_written(live: World, tmp_path: Path) -> None:
    aside: Any = partial(plan.aside, live, live=True)
    (live.state / "core").mkdir(parents=True)
    (live.state / "core" / "releases.yaml").write_text("old")
    live.kubeconfig.write_text("ours")
    apart = aside(tmp_path / "aside")
    assert apart.kubeconfig.read_text() == "ours"
    assert not apart.talosconfig.exists()
    plan_of(live, tmp_path / "another", live=True)
    apart.kubeconfig.unlink()
    assert live.kubeconfig.read_text() == "ours"
    assert (live.state / "core" / "releases.yaml").read_text() == "old"
    assert sorted(path.name for path in live.state.iterdir()) == ["core", "kubeconfig"]
