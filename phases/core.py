"""The phase `core`: the releases that must run before Flux can, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.engine import Phase
from phases import baseline, cilium_definitions, issuance, mirror, reachability, releases, secret_sync
from phases.proofs import proving_step
from phases.refs import BASELINE, CORE_RELEASES, LAST

if TYPE_CHECKING:
    from phases.world import World


# Flux pulls from a name and writes what webhooks judge, so it is not installed before those are seen to work.
_BEFORE_FLUX: Final = tuple(
    one.name
    for one in (
        cilium_definitions.CILIUM_DEFINITIONS,
        reachability.NAMES,
        mirror.MIRROR,
        issuance.CERTIFICATES,
        secret_sync.SECRET_SYNC,
    )
)


def phase(world: World) -> Phase:
    """The phase `core`."""
    budget = world.cluster.budgets["core"]
    return Phase(
        name="core",
        title="Install the core releases",
        number=2,
        target=budget.target,
        deadline=budget.deadline,
        steps=(
            *(releases.step(world, one) for one in CORE_RELEASES if one is not LAST),
            cilium_definitions.step(world),
            *reachability.steps(world),
            mirror.step(world),
            proving_step(world, issuance.proving(world)),
            proving_step(world, secret_sync.proving(world)),
            baseline.step(world),
            releases.step(world, LAST, needs=(BASELINE.name,), after=_BEFORE_FLUX),
        ),
    )
