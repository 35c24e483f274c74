"""The steps of the core releases: helm installs each, unless Flux has it, and each has a gate of its own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Action, Conflict, Context, Done, Foreseen, Found, KillSafety, Observation, Skip, Step, ToDo
from bootstrap.engine.proof import Proof
from bootstrap.engine.step import Gate
from bootstrap.host.commands import CommandError
from bootstrap.host.objects import flag, name_of, sequence, text
from gitops import handover
from gitops.releases import release as read_release
from kube import helm
from kube.adoption import ADOPTER
from kube.cluster import DAEMON_SET, DEPLOYMENT, NODE
from kube.errors import KubeError
from kube.release_states import Treatment, rule
from kube.rollout import both, daemon_set_ready, deployment_ready, nodes_ready
from kube.watching import SAFETY_SECONDS, Watched
from phases import pending, sources
from phases.charts import helmfile, pulled_core
from phases.proofs import forget, kind_of
from phases.refs import (
    API,
    CORE_FOLDER,
    DEFINITIONS,
    FILES,
    GUARDS,
    LAST,
    NETWORK,
    NODES,
    RESOURCES,
    core_releases,
)
from phases.refs import CoreRelease as Core

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops.tree import Tree
    from kube.cluster import Look, Reading
    from kube.helm import Release
    from kube.watching import Source
    from phases.world import World

# The guards too, where the phase that has them is left out: what they refuse breaks a cluster.
_COMMON: Final = (FILES.name, CORE_FOLDER.name, GUARDS.name, API.name, NODES.name, RESOURCES.name, DEFINITIONS.name)
# Why a release that only other clusters have is not looked for.
_ABSENT: Final = "the tree has no such HelmRelease"


@dataclass(frozen=True)
class Facts:
    """What the probe found of a release that is not done.

    Attributes:
        state: of its latest revision, one line.
        installs: whether helm has to run; else it is installed, or Flux installs it, and only the gate is left.
        pending: the revision that an operation holds; None when none is under way.
    """

    state: str
    installs: bool = True
    pending: Release | None = None


def step(world: World, one: Core, *, needs: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> Step[Facts, None]:
    """The step that installs a release.

    Args:
        world: the world.
        one: the release.
        needs: names of further steps whose values count for it.
        after: see `Step.after`.
    """
    return Step(
        name=one.name,
        title=f"Install {one.name}",
        probe=partial(_probe, world, one),
        actions=partial(_actions, world, one),
        gate=partial(_gate, world, one),
        foresee=partial(_foreseen, one),
        needs=(*_COMMON, *one.needs, *needs),
        reads=(FILES.name, API.name),
        after=after,
        inputs=(*sources.HELMFILES, *sources.tree(world.cluster)),
    )


def _flux_version(tree: Tree) -> str:
    """The Flux version that the tree's FluxInstance asks for, such as `2.7.3`."""
    return text(read_release(tree, LAST.name).values, "instance", "distribution", "version")


def instance_ready(api: Reading, tree: Tree) -> Look:
    """Whether FluxInstance is Ready as the tree wants it; until then also what its controllers lack.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    look = handover.instance_ready(api, _flux_version(tree))
    if look.holds:
        return look
    there = {name_of(item) for item in api.list_objects(DEPLOYMENT, LAST.namespace)}
    controllers = sequence(read_release(tree, LAST.name).values, "instance", "components")
    looks = [deployment_ready(api, LAST.namespace, str(name)) for name in controllers if name in there]
    missing = [one.seen for one in looks if not one.holds]
    return replace(look, seen="; ".join([look.seen, *missing]))


def _foreseen(one: Core, ctx: Context) -> Foreseen[Facts, None]:
    absent = one not in core_releases(ctx.value(FILES))
    return Foreseen(
        Facts(""), None, done=absent, summary=_ABSENT if absent else "", known_after="" if absent else API.name
    )


def _probe(world: World, one: Core, ctx: Context) -> Found[Facts, None]:
    if one not in core_releases(ctx.value(FILES)):
        return Skip(_ABSENT, None)
    api = ctx.value(API).api
    with ctx.outside("request"):
        found = helm.latest(api, one.name, one.namespace)
    state = _state(found)
    if _is_settled(one, found, ctx):
        with ctx.outside("request"):
            look = _look(world, one, api, ctx)
        if look.holds:
            return Done(f"{state}; {look.seen}", None, _proofs(world, one, look.seen))
        return ToDo(Facts(state, installs=False), f"{state}; {look.seen}")
    with ctx.outside("request"):
        if _is_left_to_flux(api, one):
            return ToDo(Facts(state, installs=False), f"{state}; {_left_to_flux(one)}")
    return _treated(one, found, ctx)


def _treated(one: Core, found: Release | None, ctx: Context) -> ToDo[Facts] | Conflict:
    """What is to be done about a release that is not as it should be, by the status that helm left it in."""
    state = _state(found)
    if found is None:
        return ToDo(Facts(state), state)
    treated = rule(found.status)
    if treated.treatment is Treatment.REFUSE:
        return Conflict(
            f"release {one.namespace}/{one.name} is {found.status}",
            cause=treated.reason,
            remedy=f"helm -n {one.namespace} uninstall {one.name}, which ends that; then run again",
        )
    if treated.treatment is Treatment.UNLOCK:
        return ToDo(Facts(state, pending=found), f"{state}: {treated.reason}")
    return ToDo(Facts(state), f"{state}; the tree wants {read_release(ctx.value(FILES), one.name).version}, its values")


def _state(found: Release | None) -> str:
    if found is None:
        return "not installed"
    owner = ", owned by Flux" if found.deployed_by == ADOPTER else ""
    return f"revision {found.revision} {found.status}, {found.chart} {found.version}{owner}"


def _is_settled(one: Core, found: Release | None, ctx: Context) -> bool:
    """Whether helm has nothing to do for us: it is as the tree wants it, or Flux', which ends what it began."""
    if found is None or found.deployed_by == ADOPTER:
        return found is not None
    wanted = read_release(ctx.value(FILES), one.name)
    return found.status == "deployed" and found.version == wanted.version and found.values == wanted.values


def _is_left_to_flux(api: Reading, one: Core) -> bool:
    """Whether helm-controller will install the release, or mend it, beside whatever we did."""
    item = api.get(handover.HELM_RELEASE, one.name, one.namespace)
    return item is not None and not flag(item, "spec", "suspend")


def _left_to_flux(one: Core) -> str:
    patch = """'{"spec":{"suspend":true}}'"""
    return (
        "left to Flux, which has a HelmRelease for it; to install it from here all the same: "
        f"kubectl -n {one.namespace} patch helmrelease {one.name} --type merge -p {patch}, then run again"
    )


def _actions(world: World, one: Core, _ctx: Context, facts: Facts) -> Sequence[Action]:
    if not facts.installs:
        return []

    def sync(ctx: Context) -> None:
        folder = pulled_core(world, ctx.value(FILES), ctx.value(CORE_FOLDER), one.name)
        kubeconfig = ctx.value(API).kubeconfig
        # Another attempt finds what the helm of the last one left.
        pending.free(world, one, ctx)
        with ctx.outside("request"):
            found = helm.latest(ctx.value(API).api, one.name, one.namespace)
        if _is_settled(one, found, ctx):
            return
        forget(world, one.name)
        installer = helmfile(world, folder, "01-core.yaml.gotmpl", kubeconfig=kubeconfig, purpose=one.name)
        try:
            with pending.Mark.of(world, one).set():
                installer.sync(one.name)
        except CommandError as error:
            raise _explained(world, one, ctx, error) from error

    def preview(ctx: Context) -> str:
        wanted = read_release(ctx.value(FILES), one.name)
        with ctx.outside("request"):
            found = helm.latest(ctx.value(API).api, one.name, one.namespace)
        if found is None:
            return f"chart {wanted.version} with its values"
        places = helm.differing(found.values, wanted.values)
        return f"chart {found.version} -> {wanted.version}; values that differ: {', '.join(places) or 'none'}"

    install = Action(
        description=f"install release {one.namespace}/{one.name}: helmfile sync -l name={one.name} --skip-needs",
        reason=facts.state or "it is not installed",
        run=sync,
        recognised_by="helm's storage has it deployed with this chart and these values",
        kill_safety=KillSafety.PARTIAL,
        preview=preview,
    )
    return [pending.action(world, one, facts.pending), install] if facts.pending else [install]


def _explained(world: World, one: Core, ctx: Context, error: CommandError) -> CommandError:
    """The failure of a helm, with what its workloads say: they often know why."""
    seen = ""
    with suppress(KubeError), ctx.outside("request"):
        look = _look(world, one, ctx.value(API).api, ctx)
        seen = "" if look.holds else f"; {look.seen}"
    explained = CommandError(
        f"helm could not install release {one.namespace}/{one.name}",
        cause=f"{error.cause}{seen}",
        stdout=error.stdout,
        stderr=error.stderr,
        exit_code_seen=error.exit_code_seen,
        timed_out=error.timed_out,
    )
    explained.error_class = error.error_class
    return explained


def _gate(world: World, one: Core, ctx: Context) -> Gate[None]:
    watched = Watched(lambda: ctx.value(API).api, *_sources(one))

    def check(inner: Context) -> Observation[None]:
        api = watched.now()
        look = _look(world, one, api, inner)
        found = helm.latest(api, one.name, one.namespace) if look.holds else None
        if look.holds and not _is_settled(one, found, inner):
            return Observation(holds=False, seen=f"{look.seen}; {_state(found)}; {_left_to_flux(one)}")
        return Observation(look.holds, look.seen, proofs=_proofs(world, one, look.seen), conflict=look.conflict)

    return Gate(
        description=f"{one.name} to be ready",
        check=check,
        timeout=world.cluster.release_seconds,
        interval=SAFETY_SECONDS,
        grace=handover.GRACE_SECONDS,
        watch=watched.watch,
    )


def _sources(one: Core) -> tuple[Source, ...]:
    """What the look at a release reads, pods left out: they only explain what is slow."""
    read = (
        ((DAEMON_SET, one.namespace), one.daemon_sets),
        ((DEPLOYMENT, one.namespace), one.deployments or one is LAST),
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
        looks.append(instance_ready(api, ctx.value(FILES)))
    return both(*looks)


def _proofs(world: World, one: Core, seen: str) -> tuple[Proof, ...]:
    return (Proof(f"{one.name} is ready", seen, kind_of(world, (one,))),)
