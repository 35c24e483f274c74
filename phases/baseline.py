"""The step that notes what runs before Flux knows of it; the adoption is judged against that."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING

from bootstrap.engine import Action, Changes, Context, Done, Foreseen, Found, KillSafety, Step, ToDo
from bootstrap.host.files import write_atomically
from kube import helm
from kube.adoption import AdoptionBaseline, collect_baseline
from phases.refs import API, BASELINE, CORE_RELEASES, LAST, SECRETS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phases.world import Credentials, World


def step(world: World) -> Step[None, tuple[AdoptionBaseline, ...]]:
    """The step; it stands before the release that starts the adoption of the others."""
    return Step(
        name=BASELINE.name,
        title="Note what runs, before Flux knows of it",
        probe=partial(_probe, world),
        actions=partial(_actions, world),
        foresee=lambda _: Foreseen(None, (), known_after="the releases before"),
        needs=(API.name, SECRETS.name, *(one.name for one in CORE_RELEASES if one is not LAST)),
        reads=(API.name, SECRETS.name),
    )


def digest_key(credentials: Credentials) -> bytes:
    """The key of digests that must compare equal over several runs; never stored, derived from the bundle."""
    return hashlib.sha256(b"firstlight adoption" + credentials.bundle.secret.reveal()).digest()


def baseline_file(world: World) -> Path:
    """Where the adoption baselines and their judgement are kept; digests only."""
    return world.state / "adoption.json"


def _probe(world: World, ctx: Context) -> Found[None, tuple[AdoptionBaseline, ...]]:
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


def _actions(world: World, _ctx: Context, _facts: None) -> Sequence[Action]:
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
