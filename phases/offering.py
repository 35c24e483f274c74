"""A configuration on its way to a machine in maintenance mode: offered until taken, never blindly sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.engine import Context, Observation
from bootstrap.engine.retry import row_of
from bootstrap.engine.step import Gate
from phases import machines
from talos.errors import Kind, TalosError
from talos.probe import State

if TYPE_CHECKING:
    from bootstrap.host.secret import Secret
    from inventory.model import Node
    from phases.world import Credentials, World

# Two answers that get lost and a node that is busy with another configuration in between.
TAKE_SECONDS: Final = 120.0
# Seconds between two looks at a machine that is given its configuration: it leaves maintenance mode within 3 s.
TAKE_INTERVAL: Final = 1.0
# Looks after an answer that was lost; a machine that is in maintenance mode still has not taken the configuration.
LOST_LOOKS: Final = 20


def give(world: World, credentials: Credentials, node: Node, config: Secret, ctx: Context) -> None:
    """Offer a machine in maintenance mode its configuration until it is taken.

    Raises:
        TalosError: it refuses the configuration.
        WaitTimeoutError: it takes nothing.
    """
    ctx.wait(
        Gate(
            description=f"{node.name} to take its configuration",
            check=_Offer(world, credentials, node, config),
            transient=machines.may_pass,
            interval=TAKE_INTERVAL,
            timeout=TAKE_SECONDS,
        )
    )


class _Offer:
    """Offers a configuration until it is taken; after an answer that was lost the machine's state decides."""

    def __init__(self, world: World, credentials: Credentials, node: Node, config: Secret) -> None:
        self._world = world
        self._credentials = credentials
        self._node = node
        self._config = config
        self._looks_left = 0

    def __call__(self, _: Context) -> Observation[None]:
        if self._looks_left:
            self._looks_left -= 1
            seen = machines.see_machine(self._world, self._credentials, self._node)
            if seen.state is not State.MAINTENANCE:
                return Observation(holds=True, seen=f"it has left maintenance mode: {seen.detail}")
            return Observation(holds=False, seen="the answer was lost, and it is in maintenance mode still")
        try:
            self._world.talosctl.apply_insecure(str(self._node.maintenance_address), self._config)
        except TalosError as error:
            return self._failed(error)
        return Observation(holds=True, seen="taken")

    def _failed(self, error: TalosError) -> Observation[None]:
        # Whoever wants a certificate by now took a configuration between our look and our offer.
        if row_of(error).effect or error.kind is Kind.NEEDS_CLIENT_CERTIFICATE:
            self._looks_left = LOST_LOOKS
        elif not machines.may_pass(error):
            raise error
        return Observation(holds=False, seen=str(error))
