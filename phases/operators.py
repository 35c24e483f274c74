"""The proof that an operator works: its webhook answers, and its controller does what it is asked for once."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.engine import Observation
from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.engine.step import Gate
from bootstrap.host.errors import FirstlightError
from kube.belongings import Belongings
from kube.webhooks import Webhook, converted_by_webhook
from phases.admission import await_webhook, unproven
from phases.proofs import kind_of
from phases.refs import API, EXTRACT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bootstrap.engine import Context
    from bootstrap.host.objects import Object
    from kube.cluster import Cluster, KindRef
    from phases.refs import CoreRelease
    from phases.world import World


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A release with a webhook and a controller for one API group.

    Attributes:
        release: the release.
        group: the API group.
        does: the criterion of what the controller does.
        judged: a kind that the webhook judges.
        accepted: `spec` of one that it accepts.
        refused: `spec` of one that fits the definition, and that only the webhook refuses.
    """

    release: CoreRelease
    group: str
    does: str
    judged: KindRef
    accepted: Object
    refused: Object

    def webhook(self, definitions: Sequence[Object]) -> Webhook:
        """The webhook, which also converts those of these definitions that say so."""
        api_version, kind = self.judged
        metadata: Object = {"name": "firstlight-dry-run", "namespace": self.release.namespace}
        item: Object = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
        return Webhook(
            self.group,
            accepted={**item, "spec": self.accepted},
            refused={**item, "spec": self.refused},
            converted=converted_by_webhook(definitions, self.group),
        )


@dataclass(frozen=True)
class Trial:
    """What a controller is asked for once.

    Attributes:
        owner: name of the step.
        kinds: of all that it makes; see `Belongings`.
        ask: makes objects with a name of their own and labels, waits for the controller, and gives what was seen of it.
        namespace: where; empty for what is cluster-wide.
    """

    owner: str
    kinds: tuple[KindRef, ...]
    ask: Callable[[Context, Cluster, str, Object], str]
    namespace: str = ""


def prove(world: World, ctx: Context, operator: Operator, trial: Callable[[], Trial | str]) -> tuple[Proof, ...]:
    """Wait for an operator's webhook, let its controller work once, and leave nothing behind.

    Args:
        world: the world.
        ctx: of the action that proves; reads the steps `api` and `extract`.
        operator: who is to be proven.
        trial: what its controller is asked for; a text where it cannot be asked, which says why.

    Raises:
        WaitTimeoutError: webhook or controller do not answer, or something that was made does not go.
        FirstlightError: what `Trial.ask` raises.
    """
    api, kind = ctx.value(API).api, kind_of(world, (operator.release,))
    if left_out := unproven(world, api, operator.release, operator.group, operator.does):
        return left_out
    answers = await_webhook(ctx, api, operator.release, operator.webhook(ctx.value(EXTRACT)), kind)
    asked = trial()
    if isinstance(asked, str):
        return answers, Proof(operator.does, asked, ProofKind.UNPROVEN)
    belongings = Belongings(api, asked.owner, asked.kinds, asked.namespace)
    with _borrowed(world, ctx, belongings):
        seen = asked.ask(ctx, api, f"firstlight-{asked.owner}-{secrets.token_hex(4)}", belongings.labels)
    return answers, Proof(operator.does, f"{seen}; all of it is gone again", kind)


@contextlib.contextmanager
def _borrowed(world: World, ctx: Context, belongings: Belongings) -> Iterator[None]:
    """Nothing of it is there before and after; what is made while open is removed, however that ends."""
    _clear(world, ctx, belongings)
    try:
        yield
    except BaseException:
        # Why the proof failed is worth more than what its remains say; the next attempt begins with them.
        with contextlib.suppress(FirstlightError), ctx.outside("request"):
            belongings.remove()
        raise
    _clear(world, ctx, belongings)


def _clear(world: World, ctx: Context, belongings: Belongings) -> None:
    def check(_: Context) -> Observation[None]:
        left = ", ".join(str(name) for name in belongings.left())
        return Observation(not left, f"still there: {left}" if left else "nothing is left")

    with ctx.outside("request"):
        belongings.remove()
    ctx.wait(
        Gate(
            description=f"what the proof {belongings.owner} made to be gone",
            check=check,
            # A namespace goes when each of some hundred kinds has been looked for in it.
            timeout=world.cluster.release_seconds,
        )
    )
