"""Proofs that must write: made by the run that acted or with `--prove`, kept, and quoted with their age afterwards.

A kept proof is a file of its own in the cluster's state folder, bound to the cluster's identity. Whatever changes a
release forgets the proofs about it before it acts, so that a run that was killed in between is followed by one that
proves again. A proof that could not be given is kept as such, and asked for again where the next try may give it: a
run on a cluster where all was proven writes nothing.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bootstrap.engine import Action, Changes, Done, Foreseen, KillSafety, Skip, Step, ToDo
from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.host.files import write_atomically
from phases.refs import API, FILES, core_releases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from bootstrap.engine import Context, Found
    from gitops.tree import Tree
    from phases.refs import CoreRelease
    from phases.world import World

# Of ages, the largest first.
_UNITS: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True, kw_only=True)
class Proving:
    """A proof that must write.

    Attributes:
        name: of its step.
        title: of its step.
        description: what is done for it, imperative.
        releases: what it is about; the step follows them, and is skipped where the tree lacks one.
        prove: gives it and leaves nothing behind, also not of a run that was killed; `UNPROVEN` says why it could not
            be given. Raises FirstlightError, which names the layer, where what was to be shown is not so.
        needs: further steps.
        after: see `Step.after`.
        inputs: see `Step.inputs`.
        may_pass: whether what kept it from being given may be gone in the next run, such as a pod that was late.
    """

    name: str
    title: str
    description: str
    releases: tuple[CoreRelease, ...]
    prove: Callable[[Context], tuple[Proof, ...]]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    may_pass: bool = False


@dataclass(frozen=True)
class _Kept:
    """A proof as it is kept.

    Attributes:
        run: token of the run that gave it; see `World.run`.
        seconds: its age.
        proofs: what was seen.
    """

    run: str
    seconds: int
    proofs: tuple[Proof, ...]


def proving_step(world: World, one: Proving) -> Step[str, None]:
    """The step that gives a proof where none is kept, or another is wanted."""
    return Step(
        name=one.name,
        title=one.title,
        probe=partial(_probe, world, one),
        actions=partial(_actions, world, one),
        foresee=partial(_foreseen, one),
        needs=(FILES.name, API.name, *(release.name for release in one.releases), *one.needs),
        reads=(FILES.name, API.name),
        after=one.after,
        inputs=one.inputs,
    )


def forget(world: World, release: str) -> None:
    """Keep no proof about a release any longer; to be called before it is changed."""
    for path in sorted(proofs_folder(world).glob("*.json")):
        if release in _content(path).get("releases", [release]):
            path.unlink(missing_ok=True)


def kind_of(world: World, releases: Iterable[CoreRelease]) -> ProofKind:
    """How strong a proof about releases is at best: a stand-in among them makes it one."""
    return ProofKind.STAND_IN if any(one.name in world.stand_ins for one in releases) else ProofKind.PROVEN


def as_kept(proofs: Iterable[Proof]) -> list[dict[str, str]]:
    """Proofs as they are kept in JSON."""
    return [{"criterion": each.criterion, "evidence": each.evidence, "kind": each.kind} for each in proofs]


def from_kept(kept: Iterable[Mapping[str, str]]) -> tuple[Proof, ...]:
    """The inverse of `as_kept`."""
    return tuple(Proof(each["criterion"], each["evidence"], ProofKind(each["kind"])) for each in kept)


def proofs_folder(world: World) -> Path:
    """Where proofs are kept, a file each."""
    return world.state / "proofs"


def _file(world: World, one: Proving) -> Path:
    return proofs_folder(world) / f"{one.name}.json"


def _absent(one: Proving, tree: Tree) -> str:
    """Why the step does not apply to a tree; empty when it does."""
    there = core_releases(tree)
    missing = [release.name for release in one.releases if release not in there]
    return f"the tree has no HelmRelease {', '.join(missing)}" if missing else ""


def _foreseen(one: Proving, ctx: Context) -> Foreseen[str, None]:
    if absent := _absent(one, ctx.value(FILES)):
        return Foreseen("", None, done=True, summary=absent)
    return Foreseen("no proof is kept", None, known_after=one.releases[-1].name)


def _probe(world: World, one: Proving, ctx: Context) -> Found[str, None]:
    if absent := _absent(one, ctx.value(FILES)):
        return Skip(absent, None)
    with ctx.outside("request"):
        identity = ctx.value(API).api.identity()
    kept = _read(world, one, identity)
    if kept is None:
        return ToDo("no proof is kept", "no proof is kept")
    if world.prove and kept.run != world.run:
        return ToDo("--prove asks for another", f"proven {_age(kept.seconds)} ago, and --prove asks for another")
    if one.may_pass and kept.run != world.run and any(each.kind is ProofKind.UNPROVEN for each in kept.proofs):
        return ToDo("it could not be given last time", f"unproven {_age(kept.seconds)} ago, which another try may mend")
    age = "" if kept.run == world.run else f" ({_age(kept.seconds)} ago)"
    proofs = tuple(replace(each, evidence=f"{each.evidence}{age}") for each in kept.proofs)
    return Done(f"{'; '.join(_line(each) for each in kept.proofs)}{age}", None, proofs)


def _actions(world: World, one: Proving, _ctx: Context, reason: str) -> Sequence[Action]:
    def prove(inner: Context) -> None:
        path = _file(world, one)
        # What is asked anew has not been shown until it is answered.
        path.unlink(missing_ok=True)
        with inner.outside("request"):
            identity = inner.value(API).api.identity()
        proofs = one.prove(inner)
        content = {
            "cluster": identity,
            "releases": [release.name for release in one.releases],
            "run": world.run,
            "time": time.time(),
            "proofs": as_kept(proofs),
        }
        write_atomically(path, json.dumps(content, indent=1).encode(), mode=0o600)

    return [
        Action(
            description=one.description,
            reason=reason,
            run=prove,
            recognised_by=f"{proofs_folder(world).name}/{_file(world, one).name} holds the proof",
            kill_safety=KillSafety.PARTIAL,
            changes=Changes.CLUSTER,
        )
    ]


def _read(world: World, one: Proving, identity: str) -> _Kept | None:
    """The proof of this very cluster, by the UID of its kube-system."""
    content = _content(_file(world, one))
    if content.get("cluster") != identity:
        return None
    proofs = from_kept(content.get("proofs", ()))
    return _Kept(content["run"], max(0, int(time.time() - content["time"])), proofs)


def _content(path: Path) -> dict[str, Any]:
    """What a file of ours holds; empty when it is not there, or nobody can read it as one of ours."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _line(proof: Proof) -> str:
    return f"unproven: {proof.evidence}" if proof.kind is ProofKind.UNPROVEN else proof.evidence


def _age(seconds: int) -> str:
    """The largest unit that is not empty: `3 d`, `5 min`, `0 s`."""
    return next((f"{seconds // size} {unit}" for unit, size in _UNITS if seconds >= size), "0 s")
