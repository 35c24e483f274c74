"""The phase `handover`: proof that Flux runs the cluster from Git, and that taking over changed nothing."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
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
    Step,
    ToDo,
)
from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.engine.step import Gate
from bootstrap.host.errors import ExitCode, Problem
from bootstrap.host.files import write_atomically
from gitops import handover
from gitops.releases import releases
from gitops.tree import FLUX_SYSTEM, Name
from gitops.validate import validate
from kube import helm
from kube.adoption import ADOPTER, adopted, collect_state, judge
from kube.cluster import CUSTOM_RESOURCE_DEFINITION, DEPLOYMENT, POD
from kube.rollout import deployment_ready
from kube.watching import SAFETY_SECONDS, Watched
from phases import sources
from phases.core import baseline_file, digest_key, flux_version
from phases.refs import API, BASELINE, COMMIT, FILES, LAST, SECRETS, core_releases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitops.tree import Tree
    from kube.cluster import Look, Reading
    from kube.watching import Source
    from phases.world import World

# Seconds; Flux pulls Git every minute, then builds, applies and waits for health.
RECONCILE_SECONDS: Final = 400.0
# Seconds; a child that its parent has just changed is reconciled anew within one or two, and is not Ready meanwhile.
STABLE_SECONDS: Final = 3.0
NEEDS: Final = (FILES.name, SECRETS.name, API.name, COMMIT.name, BASELINE.name, LAST.name)


@dataclass(frozen=True)
class Criterion:
    """One criterion of the hand-over that is a look at the live cluster.

    Attributes:
        name: of the step.
        title: what it shows, for the verdict.
        awaited: completes "waiting for ...".
        look: sees whether it holds, in what the last parameter gives of the cluster.
        sources: what that look reads.
        stable: seconds for which it must hold without a break, where it can flap.
    """

    name: str
    title: str
    awaited: str
    look: Callable[[Context, Reading], Look]
    sources: tuple[Source, ...]
    stable: float = 0.0


def _criteria() -> tuple[Criterion, ...]:
    return (
        Criterion(
            "operator", "flux-operator is Ready", "flux-operator to be ready",
            lambda _, live: deployment_ready(live, FLUX_SYSTEM, "flux-operator"),
            ((DEPLOYMENT, FLUX_SYSTEM), (POD, FLUX_SYSTEM)),
        ),
        Criterion(
            "instance", "FluxInstance is Ready at the version of the tree", "FluxInstance to be ready",
            lambda ctx, live: handover.instance_ready(live, flux_version(ctx.value(FILES))),
            ((handover.FLUX_INSTANCE, FLUX_SYSTEM),),
        ),
        Criterion(
            "source", "the Git source has the commit that was bootstrapped", "the Git source to have the commit",
            lambda ctx, live: handover.source_at(live, ctx.value(COMMIT)),
            ((handover.GIT_REPOSITORY, FLUX_SYSTEM),),
        ),
        Criterion(
            "kustomizations", "every Kustomization is Ready at that commit", "every Kustomization to be ready",
            _kustomizations, ((handover.KUSTOMIZATION, ""), (handover.HELM_RELEASE, "")), stable=STABLE_SECONDS,
        ),
        Criterion(
            "releases", "every HelmRelease is Ready", "every HelmRelease to be ready",
            lambda ctx, live: handover.releases_ready(
                live, [Name(one.namespace, one.name) for one in releases(ctx.value(FILES))]
            ),
            ((handover.HELM_RELEASE, ""),),
        ),
    )  # fmt: skip


def phase(world: World) -> Phase:
    """The phase `handover`."""
    budget = world.cluster.budgets["handover"]
    return Phase(
        name="handover",
        title="Prove the hand-over to Flux",
        number=3,
        target=budget.target,
        deadline=budget.deadline,
        steps=(
            *(_look_step(criterion) for criterion in _criteria()),
            Step(
                name="manifests",
                title="The tree builds and every object fits its schema",
                probe=partial(_manifests, world),
                foresee=lambda _: Foreseen(None, None, known_after=LAST.name, done=True),
                needs=NEEDS,
                inputs=sources.tree(world.cluster),
            ),
            Step(
                name="taken-over",
                title="Flux has taken over each core release",
                probe=_taken_over_probe,
                foresee=_awaited,
                gate=_taken_over_gate,
                needs=(*NEEDS, "releases"),
            ),
            Step(
                name="adoption",
                title="Taking over changed nothing",
                probe=partial(_adoption_probe, world),
                foresee=lambda _: Foreseen({}, None, known_after="taken-over"),
                actions=partial(_adoption_actions, world),
                needs=(*NEEDS, "taken-over"),
            ),
        ),
    )


def _look_step(criterion: Criterion) -> Step[None, None]:
    def probe(ctx: Context) -> Found[None, None]:
        with ctx.outside("request"):
            look = criterion.look(ctx, ctx.value(API).api)
        if look.holds:
            return Done(look.seen, None, (Proof(criterion.title, look.seen),))
        return ToDo(None, look.seen)

    def gate(ctx: Context) -> Gate[None]:
        watched = Watched(lambda: ctx.value(API).api, *criterion.sources)

        def check(_: Context) -> Observation[None]:
            look = criterion.look(ctx, watched.now())
            return Observation(look.holds, look.seen, proofs=(Proof(criterion.title, look.seen),) if look.holds else ())

        return Gate(
            description=criterion.awaited,
            check=check,
            interval=SAFETY_SECONDS,
            timeout=RECONCILE_SECONDS,
            stable=criterion.stable,
            watch=watched.watch,
        )

    return Step(name=criterion.name, title=criterion.title, probe=probe, gate=gate, needs=NEEDS, foresee=_awaited)


def _awaited(_ctx: Context) -> Foreseen[None, None]:
    return Foreseen(None, None, known_after=LAST.name)


def _kustomizations(ctx: Context, live: Reading) -> Look:
    expected = [one.name for one in ctx.value(FILES).kustomizations]
    return handover.kustomizations_at(live, ctx.value(COMMIT), expected)


def _manifests(world: World, ctx: Context) -> Found[None, None]:
    api = ctx.value(API).api
    with ctx.outside("request"):
        openapi = api.openapi()
        definitions = api.list_objects(CUSTOM_RESOURCE_DEFINITION)
    result = validate(
        ctx.value(FILES), runner=world.runner, kubeconform=world.programs["kubeconform"],
        openapi=openapi, definitions=definitions,
    )  # fmt: skip
    if not result.holds:
        problems = result.problems or (Problem("nothing was checked", world.cluster.git.path),)
        return Conflict("the tree does not fit its schemas", problems=problems, exit_code=ExitCode.FAILED)
    return Done(result.seen, None, (Proof("kustomize build and kubeconform are clean", result.seen),))


def _taken_over_probe(ctx: Context) -> Found[None, None]:
    with ctx.outside("request"):
        look = _taken_over(ctx.value(FILES), ctx.value(API).api)
    return Done(look.seen, None) if look.holds else ToDo(None, look.seen)


def _taken_over_gate(ctx: Context) -> Gate[None]:
    # Helm's own storage is what counts; helm-controller tells of each change in the HelmRelease.
    watched = Watched(lambda: ctx.value(API).api, (handover.HELM_RELEASE, ""))

    def check(_: Context) -> Observation[None]:
        look = _taken_over(ctx.value(FILES), watched.now())
        return Observation(look.holds, look.seen)

    return Gate(
        description="helm-controller to take over each core release",
        check=check,
        interval=SAFETY_SECONDS,
        timeout=RECONCILE_SECONDS,
        watch=watched.watch,
    )


def _taken_over(tree: Tree, live: Reading) -> Look:
    """Whether helm-controller made the latest revision of every core release."""
    latest = {one.name: helm.latest(live, one.name, one.namespace) for one in core_releases(tree)}
    behind = [
        f"{name}: revision {found.revision} {found.status} by {found.deployed_by}" if found else f"{name} is gone"
        for name, found in latest.items()
        if not found or found.deployed_by != ADOPTER or found.status != "deployed"
    ]
    seen = f"{len(latest) - len(behind)} of {len(latest)} releases deployed by {ADOPTER}"
    return Observation(holds=not behind, seen="; ".join([seen, *behind]))


def _adoption_probe(world: World, ctx: Context) -> Found[dict[str, str], None]:
    api = ctx.value(API).api
    with ctx.outside("request"):
        identity = api.identity()
    kept = _kept_proof(world, identity)
    if kept:
        return Done(kept[0].evidence, None, kept)
    violations, proofs = _judge(world, ctx)
    if violations:
        problems = tuple(Problem(one) for one in violations)
        return Conflict(
            "Flux changed what it took over",
            cause="helmfile and Git do not give the same",
            problems=problems,
            exit_code=ExitCode.FAILED,
        )
    proven = {one.criterion: one.evidence for one in proofs if one.kind is not ProofKind.UNPROVEN}
    if not proven:
        return Done("nothing was noted before Flux took over, so nothing can be proven", None, proofs)
    return ToDo(proven, "; ".join(proven.values()))


def _judge(world: World, ctx: Context) -> tuple[list[str], tuple[Proof, ...]]:
    api, key = ctx.value(API).api, digest_key(ctx.value(SECRETS))
    violations: list[str] = []
    proofs: list[Proof] = []
    noted = {one.name: one for one in ctx.value(BASELINE)}
    for release in core_releases(ctx.value(FILES)):
        criterion = f"{release.name} was adopted unchanged"
        baseline = noted.get(release.name)
        if baseline is None:
            why = "it starts the adoption, so it has no state before" if release is LAST else "nothing was noted before"
            proofs.append(Proof(criterion, why, ProofKind.UNPROVEN))
            continue
        with ctx.outside("request"):
            now = collect_state(api, release.name, release.namespace, key)
        judgement = judge(baseline, now)
        violations += [f"{release.name}: {one}" for one in judgement.violations]
        if judgement.unproven:
            proofs.append(Proof(criterion, "; ".join(judgement.unproven), ProofKind.UNPROVEN))
        elif not judgement.violations:
            evidence = f"{adopted(baseline, now).seen}, no generation moved, no pod replaced or restarted"
            kind = ProofKind.STAND_IN if release.name in world.stand_ins else ProofKind.PROVEN
            proofs.append(Proof(criterion, evidence, kind))
    return violations, tuple(proofs)


def _adoption_actions(world: World, ctx: Context, _proven: dict[str, str]) -> Sequence[Action]:
    def keep(_: Context) -> None:
        proofs = _judge(world, ctx)[1]
        path = baseline_file(world)
        content = json.loads(path.read_bytes())
        content["proof"] = {
            "time": time.time(),
            "proofs": [{"criterion": one.criterion, "evidence": one.evidence, "kind": one.kind} for one in proofs],
        }
        write_atomically(path, json.dumps(content, indent=1).encode(), mode=0o600)

    return [
        Action(
            description="keep the proof of adoption",
            reason="it can only be given once, and later runs quote it",
            run=keep,
            recognised_by=f"{baseline_file(world).name} holds the proof",
            kill_safety=KillSafety.ATOMIC,
            changes=Changes.FILES,
        )
    ]


def _kept_proof(world: World, identity: str) -> tuple[Proof, ...]:
    path = baseline_file(world)
    content = json.loads(path.read_bytes()) if path.exists() else {}
    if content.get("cluster") != identity or "proof" not in content:
        return ()
    age = max(0, int(time.time() - content["proof"]["time"]))
    return tuple(
        Proof(one["criterion"], f"{one['evidence']} (proven {age} s ago)", ProofKind(one["kind"]))
        for one in content["proof"]["proofs"]
    )
