"""The phase `core`: the releases that must run before Flux can, one by one, each with its own gate."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import (
    Action,
    Changes,
    Conflict,
    Context,
    Done,
    Foreseen,
    Found,
    KillSafety,
    Observation,
    Phase,
    Skip,
    Step,
    ToDo,
)
from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.engine.step import Gate
from bootstrap.host.files import write_atomically
from gitops import handover
from gitops.releases import release as read_release
from kube import helm
from kube.adoption import ADOPTER, AdoptionBaseline, collect_baseline
from kube.cluster import DAEMON_SET, DEPLOYMENT, NODE
from kube.rollout import both, daemon_set_ready, deployment_ready, nodes_ready
from kube.watching import SAFETY_SECONDS, Watched
from phases import sources
from phases.charts import helmfile
from phases.refs import (
    API,
    BASELINE,
    CORE_FOLDER,
    CORE_RELEASES,
    DEFINITIONS,
    FILES,
    LAST,
    NETWORK,
    NODES,
    RESOURCES,
    SECRETS,
    core_releases,
)
from phases.refs import CoreRelease as Core

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gitops.tree import Tree
    from kube.cluster import Look, Reading
    from kube.watching import Source
    from phases.world import Credentials, World

# Seconds; images of 80 to 120 MB are pulled and started, two at a time under emulation.
RELEASE_SECONDS: Final = 420.0
# Statuses of helm from which `helm upgrade --install` goes on by itself.
CONTINUABLE: Final = frozenset({"deployed", "failed", "superseded", "uninstalled"})


def phase(world: World) -> Phase:
    """The phase `core`."""
    budget = world.cluster.budgets["core"]
    baseline = Step(
        name=BASELINE.name,
        title="Note what runs, before Flux knows of it",
        probe=partial(_baseline_probe, world),
        actions=partial(_baseline_actions, world),
        foresee=lambda _: Foreseen(None, (), known_after="the releases before"),
        needs=(API.name, SECRETS.name, *(one.name for one in CORE_RELEASES if one is not LAST)),
    )
    return Phase(
        name="core",
        title="Install the core releases",
        number=2,
        target=budget.target,
        deadline=budget.deadline,
        steps=(
            *(_release_step(world, one) for one in CORE_RELEASES if one is not LAST),
            baseline,
            _last(world),
        ),
    )


def digest_key(credentials: Credentials) -> bytes:
    """The key of digests that must compare equal over several runs; never stored, derived from the bundle."""
    return hashlib.sha256(b"firstlight adoption" + credentials.bundle.secret.reveal()).digest()


def _release_step(world: World, one: Core) -> Step[str, None]:
    return Step(
        name=one.name,
        title=f"Install {one.name}",
        probe=partial(_release_probe, world, one),
        actions=partial(_release_actions, world, one),
        gate=partial(_release_gate, world, one),
        foresee=partial(_release_foreseen, one),
        needs=(*_COMMON, *one.needs),
        inputs=(*sources.HELMFILES, *sources.tree(world.cluster)),
    )


def _last(world: World) -> Step[str, None]:
    step = _release_step(world, LAST)
    return Step(
        name=step.name, title=step.title, probe=step.probe, actions=step.actions, gate=step.gate,
        foresee=step.foresee, needs=(*step.needs, BASELINE.name), inputs=step.inputs,
    )  # fmt: skip


_COMMON: Final = (FILES.name, CORE_FOLDER.name, API.name, NODES.name, RESOURCES.name, DEFINITIONS.name)


# Why a release that only other clusters have is not looked for.
_ABSENT: Final = "the tree has no such HelmRelease"


def _release_foreseen(one: Core, ctx: Context) -> Foreseen[str, None]:
    if one not in core_releases(ctx.value(FILES)):
        return Foreseen("", None, done=True, summary=_ABSENT)
    return Foreseen("", None, known_after=API.name)


def _release_probe(world: World, one: Core, ctx: Context) -> Found[str, None]:
    if one not in core_releases(ctx.value(FILES)):
        return Skip(_ABSENT, None)
    api = ctx.value(API).api
    with ctx.outside("request"):
        found = helm.latest(api, one.name, one.namespace)
    if found is None:
        return ToDo("", "not installed")
    state = f"revision {found.revision} {found.status}, {found.chart} {found.version}"
    # Flux ends by itself what it began.
    if found.status not in CONTINUABLE and found.deployed_by != ADOPTER:
        return Conflict(
            f"release {one.namespace}/{one.name} is {found.status}",
            cause="a helm that installed it was ended, or still runs",
            remedy=f"helm -n {one.namespace} rollback {one.name}, or uninstall it; then run again",
        )
    wanted = read_release(ctx.value(FILES), one.name)
    equal = found.status == "deployed" and found.version == wanted.version and found.values == wanted.values
    if found.deployed_by != ADOPTER and not equal:
        return ToDo(state, f"{state}; the tree wants {wanted.version} with its values")
    with ctx.outside("request"):
        look = _look(world, one, api, ctx)
    owner = ", owned by Flux" if found.deployed_by == ADOPTER else ""
    if look.holds:
        return Done(f"{state}{owner}; {look.seen}", None, _proofs(world, one, look.seen))
    return ToDo("installed", f"{state}{owner}; {look.seen}")


def _release_actions(world: World, one: Core, _ctx: Context, seen: str) -> Sequence[Action]:
    if seen == "installed":
        return []

    def sync(inner: Context) -> None:
        folder, kubeconfig = inner.value(CORE_FOLDER), inner.value(API).kubeconfig
        helmfile(world, folder, "01-core.yaml.gotmpl", kubeconfig=kubeconfig, purpose=one.name).sync(one.name)

    def preview(inner: Context) -> str:
        wanted = read_release(inner.value(FILES), one.name)
        with inner.outside("request"):
            found = helm.latest(inner.value(API).api, one.name, one.namespace)
        if found is None:
            return f"chart {wanted.version} with its values"
        places = helm.differing(found.values, wanted.values)
        return f"chart {found.version} -> {wanted.version}; values that differ: {', '.join(places) or 'none'}"

    return [
        Action(
            description=f"install release {one.namespace}/{one.name}: helmfile sync -l name={one.name} --skip-needs",
            reason=seen or "it is not installed",
            run=sync,
            recognised_by="helm's storage has it deployed with this chart and these values",
            kill_safety=KillSafety.PARTIAL,
            preview=preview,
        )
    ]


def _release_gate(world: World, one: Core, ctx: Context) -> Gate[None]:
    watched = Watched(lambda: ctx.value(API).api, *_sources(one))

    def check(inner: Context) -> Observation[None]:
        look = _look(world, one, watched.now(), inner)
        return Observation(look.holds, look.seen, proofs=_proofs(world, one, look.seen))

    return Gate(
        description=f"{one.name} to be ready",
        check=check,
        timeout=RELEASE_SECONDS,
        interval=SAFETY_SECONDS,
        watch=watched.watch,
    )


def _sources(one: Core) -> tuple[Source, ...]:
    """What the look at a release reads, pods left out: they only explain what is slow."""
    read = (
        ((DAEMON_SET, one.namespace), one.daemon_sets),
        ((DEPLOYMENT, one.namespace), one.deployments),
        ((NODE, ""), one is NETWORK),
        ((handover.FLUX_INSTANCE, one.namespace), one is LAST),
    )
    return tuple(source for source, wanted in read if wanted)


def _look(world: World, one: Core, api: Reading, ctx: Context) -> Look:
    looks = [daemon_set_ready(api, one.namespace, name) for name in one.daemon_sets]
    looks += [deployment_ready(api, one.namespace, name) for name in one.deployments]
    if one is NETWORK:
        looks.append(nodes_ready(api, [node.name for node in world.cluster.nodes if not node.absent]))
    if one is LAST:
        looks.append(handover.instance_ready(api, flux_version(ctx.value(FILES))))
    return both(*looks)


def flux_version(tree: Tree) -> str:
    """The Flux version that the tree's FluxInstance asks for, such as `2.7.3`."""
    values = read_release(tree, LAST.name).values
    instance = values.get("instance")
    distribution = instance.get("distribution") if isinstance(instance, dict) else None
    return str(distribution.get("version", "")) if isinstance(distribution, dict) else ""


def _proofs(world: World, one: Core, seen: str) -> tuple[Proof, ...]:
    kind = ProofKind.STAND_IN if one.name in world.stand_ins else ProofKind.PROVEN
    return (Proof(f"{one.name} is ready", seen, kind),)


def baseline_file(world: World) -> Path:
    """Where the adoption baselines and their judgement are kept; digests only."""
    return world.state / "adoption.json"


def _baseline_probe(world: World, ctx: Context) -> Found[None, tuple[AdoptionBaseline, ...]]:
    api = ctx.value(API).api
    with ctx.outside("request"):
        identity = api.identity()
        started = helm.latest(api, LAST.name, LAST.namespace) is not None
    kept = read_baselines(world, identity)
    if kept and (started or kept == _collect(ctx)):
        return Done(f"{len(kept)} releases noted", kept)
    if started:
        return Done("Flux took over before anything was noted", ())
    return ToDo(None, "not noted yet")


def _baseline_actions(world: World, _ctx: Context, _facts: None) -> Sequence[Action]:
    def note(inner: Context) -> None:
        found = [one.to_json() for one in _collect(inner)]
        content = {"cluster": inner.value(API).api.identity(), "baselines": found}
        write_atomically(baseline_file(world), json.dumps(content, indent=1).encode(), mode=0o600)

    return [
        Action(
            description="note revision, generations and pods of each release",
            reason="what Flux changes when it takes over can only be told against this",
            run=note,
            recognised_by=f"{baseline_file(world).name} holds what runs",
            kill_safety=KillSafety.ATOMIC,
            changes=Changes.FILES,
        )
    ]


def _collect(ctx: Context) -> tuple[AdoptionBaseline, ...]:
    key, api = digest_key(ctx.value(SECRETS)), ctx.value(API).api
    with ctx.outside("request"):
        found = [collect_baseline(api, one.name, one.namespace, key) for one in CORE_RELEASES if one is not LAST]
    return tuple(one for one in found if one is not None)


def read_baselines(world: World, identity: str) -> tuple[AdoptionBaseline, ...]:
    """The baselines of this very cluster, by the UID of its kube-system; empty when there are none."""
    path = baseline_file(world)
    if not path.exists():
        return ()
    content = json.loads(path.read_bytes())
    if content.get("cluster") != identity:
        return ()
    return tuple(AdoptionBaseline.from_json(one) for one in content["baselines"])
