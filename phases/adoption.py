"""The steps that prove what Flux changed when it took the core releases over: nothing."""

from __future__ import annotations

import json
import time
from dataclasses import replace
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
    Step,
    ToDo,
)
from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.engine.step import AnyStep, Gate
from bootstrap.host.errors import ExitCode, Problem
from bootstrap.host.files import write_atomically
from gitops import handover
from kube import helm
from kube.adoption import ADOPTER, adopted, collect_state, judge
from kube.watching import SAFETY_SECONDS, Watched
from phases.baseline import baseline_file, digest_key
from phases.criteria import NEEDS, awaited, expiry
from phases.proofs import as_kept, from_kept, kind_of
from phases.refs import API, BASELINE, FILES, LAST, SECRETS, core_releases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops.tree import Tree
    from kube.adoption import Judgement
    from kube.cluster import Look, Reading
    from phases.world import World

_UNMOVED: Final = (
    "helmfile and Git give the same: somebody acted, a node was drained, or a probe or the kernel ended one"
)


def steps(world: World) -> tuple[AnyStep, ...]:
    """Wait until Flux has taken over, then hold what runs against what ran before."""
    return (
        Step(
            name="taken-over",
            title="Flux has taken over each core release",
            probe=_taken_over_probe,
            foresee=awaited,
            gate=partial(_taken_over_gate, world),
            needs=(*NEEDS, "releases"),
            reads=(FILES.name, API.name),
        ),
        Step(
            name="adoption",
            title="Taking over changed nothing",
            probe=partial(_adoption_probe, world),
            foresee=lambda _: Foreseen({}, None, known_after="taken-over"),
            actions=partial(_adoption_actions, world),
            needs=(*NEEDS, "taken-over"),
            reads=(FILES.name, SECRETS.name, API.name, BASELINE.name),
        ),
    )


def _taken_over_probe(ctx: Context) -> Found[None, None]:
    with ctx.outside("request"):
        look = _taken_over(ctx.value(FILES), ctx.value(API).api)
    return Done(look.seen, None) if look.holds else ToDo(None, look.seen)


def _taken_over_gate(world: World, ctx: Context) -> Gate[None]:
    # Helm's own storage is what counts; helm-controller tells of each change in the HelmRelease.
    watched = Watched(lambda: ctx.value(API).api, (handover.HELM_RELEASE, ""))

    def check(_: Context) -> Observation[None]:
        look = _taken_over(ctx.value(FILES), watched.now())
        return Observation(look.holds, look.seen)

    return Gate(
        description="helm-controller to take over each core release",
        check=check,
        interval=SAFETY_SECONDS,
        timeout=world.cluster.release_seconds,
        expires=expiry(world),
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
    judged, proofs = _judge(world, ctx)
    violations = [f"{name}: {one}" for name, judgement in judged.items() for one in judgement.violations]
    if violations:
        is_same = all(judgement.is_same for judgement in judged.values())
        return Conflict(
            "what Flux took over did not stay as it was",
            cause=_UNMOVED if is_same else "helmfile and Git do not give the same",
            problems=tuple(map(Problem, violations)),
            exit_code=ExitCode.FAILED,
        )
    proven = {one.criterion: one.evidence for one in proofs if one.kind is not ProofKind.UNPROVEN}
    if not proven:
        return Done("nothing was noted before Flux took over, so nothing can be proven", None, proofs)
    return ToDo(proven, "; ".join(proven.values()))


def _judge(world: World, ctx: Context) -> tuple[dict[str, Judgement], tuple[Proof, ...]]:
    """Each release held against what was noted, by name, and the proofs that come of it."""
    api, key = ctx.value(API).api, digest_key(ctx.value(SECRETS))
    judged: dict[str, Judgement] = {}
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
        judged[release.name] = judgement = judge(baseline, now)
        if judgement.unproven:
            proofs.append(Proof(criterion, "; ".join(judgement.unproven), ProofKind.UNPROVEN))
        elif not judgement.violations:
            evidence = f"{adopted(baseline, now).seen}, no generation moved, no pod replaced or restarted"
            proofs.append(Proof(criterion, evidence, kind_of(world, (release,))))
    return judged, tuple(proofs)


def _adoption_actions(world: World, ctx: Context, _proven: dict[str, str]) -> Sequence[Action]:
    def keep(_: Context) -> None:
        proofs = _judge(world, ctx)[1]
        path = baseline_file(world)
        content = json.loads(path.read_bytes())
        content["proof"] = {"time": time.time(), "proofs": as_kept(proofs)}
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
    kept = from_kept(content["proof"]["proofs"])
    return tuple(replace(one, evidence=f"{one.evidence} (proven {age} s ago)") for one in kept)
