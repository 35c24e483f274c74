"""The wait for a release's webhook, and what is proven where only a stand-in registers none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.engine.step import Gate
from kube import webhooks

if TYPE_CHECKING:
    from bootstrap.engine import Context
    from kube.cluster import Cluster, Reading
    from kube.webhooks import Webhook
    from phases.refs import CoreRelease
    from phases.world import World

# In a row: a webhook that has just got its CA answers one API server and not yet the next, and the endpoints of its
# Service come and go while it restarts once for its certificate.
TIMES: Final = 3
# Seconds between two tries; what an API server knows of a webhook's CA follows the object within one.
INTERVAL_SECONDS: Final = 1.0
# Seconds; a CA is injected within a minute of the pods being ready (cert-manager#2908), under emulation within three.
TIMEOUT_SECONDS: Final = 240.0


def await_webhook(ctx: Context, api: Cluster, release: CoreRelease, webhook: Webhook, kind: ProofKind) -> Proof:
    """Wait until a release's webhook accepts and refuses what it should, several times in a row; nothing is stored.

    Raises:
        WaitTimeoutError: with the layer that failed last.
    """
    tried = str(webhook.accepted["kind"])
    gate = Gate(
        description=f"{_webhook_of(release)} to accept an {tried}",
        check=lambda _: webhooks.answers(api, webhook),
        times=TIMES,
        interval=INTERVAL_SECONDS,
        timeout=TIMEOUT_SECONDS,
        remedy=f"look at the Service and the Deployment {release.name}-webhook in the namespace {release.namespace}",
    )
    seen = ctx.wait(gate).seen
    return Proof(f"{_webhook_of(release)} answers", f"{seen}, {TIMES} times in a row, as dry runs", kind)


def unproven(world: World, api: Reading, release: CoreRelease, group: str, works: str) -> tuple[Proof, ...]:
    """Why nothing can be asked of a stand-in that registers no webhook; empty where there is somebody to ask.

    The real release always registers one: without it the wait for it ends the run.

    Args:
        world: the world.
        api: the cluster.
        release: whose webhook it is.
        group: API group that it watches over.
        works: the criterion of what its controller does.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    if release.name not in world.stand_ins or webhooks.registered(api, group):
        return ()
    why = f"the stand-in of {release.name} registers no webhook for {group} and has no controller behind it"
    criteria = (f"{_webhook_of(release)} answers", works)
    return tuple(Proof(criterion, why, ProofKind.UNPROVEN) for criterion in criteria)


def _webhook_of(release: CoreRelease) -> str:
    owner = f"{release.name}'" if release.name.endswith("s") else f"{release.name}'s"
    return f"{owner} webhook"
