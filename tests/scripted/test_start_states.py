"""Every start state of three control planes and two workers: each configured, in maintenance mode, or absent.

What must come of it is told by a rule that knows nothing of the phase:

- An inventory whose bootstrap node is absent, or that leaves no majority of control planes, is refused; nothing is
  touched.
- Else every machine in maintenance mode gets its configuration, once, and no other machine gets one.
- etcd is bootstrapped once, on the bootstrap node, unless a control plane has etcd's data already; then never.
- In the end the control planes that are there are the voting members of one etcd, and the machines that are there
  are the nodes. A second run changes nothing.

Configured machines come in two lives: in `lived` ones the configured control planes are the members of an etcd,
`fresh` ones were configured by a run that was ended before the bootstrap. Without such a control plane both are the
same, and what workers do is shown by the lived ones, so only the fresh ones with one and with workers in maintenance
mode are run.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.errors import InputError
from kube.cluster import NODE
from tests.scripted import invariants
from tests.scripted.machines import Delays
from tests.scripted.scenario import TALOS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.scripted.conftest import Make
    from tests.scripted.scenario import Scenario

PLANES, WORKERS = ("lab-01", "lab-02", "lab-03"), ("lab-04", "lab-05")
# Seconds; half a look each, so that a thousand runs take few looks.
SHORT = Delays(install=0.2, boot=0.2, etcd=0.2, join=0.2, api=0.2, register=0.2)


class Start(StrEnum):
    """How a machine is found."""

    CONFIGURED = "configured"
    MAINTENANCE = "maintenance"
    ABSENT = "absent"


STATES = [dict(zip((*PLANES, *WORKERS), starts, strict=True)) for starts in product(Start, repeat=5)]
OF_PLANES = list(product(Start, repeat=3))


def named(state: dict[str, Start], *starts: Start) -> list[str]:
    """The machines that are found so."""
    return [name for name, start in state.items() if start in starts]


def is_refused(state: dict[str, Start]) -> bool:
    """Whether the inventory of a state must be refused."""
    there = [name for name in PLANES if state[name] is not Start.ABSENT]
    return "lab-01" not in there or len(there) * 2 <= len(PLANES)


def expected_effects(state: dict[str, Start], *, lived: bool) -> list[str]:
    """What must be done, once each, in any order."""
    has_etcd = lived and any(state[name] is Start.CONFIGURED for name in PLANES)
    applied = [f"apply-config {name}" for name in named(state, Start.MAINTENANCE)]
    return sorted(applied if has_etcd else [*applied, "bootstrap lab-01"])


@pytest.mark.parametrize("lived", [False, True], ids=["fresh", "lived"])
@pytest.mark.parametrize("planes", OF_PLANES, ids="-".join)
def test_a_start_state_ends_in_the_right_cluster_or_the_right_refusal(
    planes: Sequence[Start], make: Make, *, lived: bool
) -> None:
    states = [state for state in STATES if tuple(state.values())[:3] == planes]
    assert len(states) == len(Start) ** len(WORKERS)
    for state in states:
        scenario = make(nodes=len(PLANES), workers=len(WORKERS), absent=named(state, Start.ABSENT), delays=SHORT)
        if not lived and not _is_a_life_of_its_own(state):
            continue
        if is_refused(state):
            with pytest.raises(InputError):
                _ = scenario.inventory
            continue
        _arrange(scenario, state, lived=lived)
        _bring_up(scenario, state, lived=lived)
        assert scenario.members() == [[name for name in PLANES if state[name] is not Start.ABSENT]]
        assert scenario.names(NODE) == named(state, Start.CONFIGURED, Start.MAINTENANCE)


def _is_a_life_of_its_own(state: dict[str, Start]) -> bool:
    planes, workers = ({state[name] for name in names} for names in (PLANES, WORKERS))
    return Start.CONFIGURED in planes and workers == {Start.MAINTENANCE}


def _arrange(scenario: Scenario, state: dict[str, Start], *, lived: bool) -> None:
    configured = named(state, Start.CONFIGURED)
    first = [name for name in configured if name in PLANES][:1]
    scenario.configure(*configured, etcd=first if lived else [])
    for name in named(state, Start.ABSENT):
        scenario.change(name, off=True)


def _bring_up(scenario: Scenario, state: dict[str, Start], *, lived: bool) -> None:
    ran = scenario.run(**TALOS)
    assert ran.exit_code == 0, f"{state}, {lived=}:\n{ran.stderr}"
    done = sorted(f"{one.kind} {one.what.split()[0]}" for one in scenario.changes())
    assert done == expected_effects(state, lived=lived), f"{state}, {lived=}"
    invariants.bootstrapped_safely(scenario)
    invariants.converged(scenario, **TALOS)


def test_all_states_are_there() -> None:
    assert len(STATES) == len(Start) ** 5
    assert len({tuple(state.values())[:3] for state in STATES}) == len(OF_PLANES)
    refused = [state for state in STATES if is_refused(state)]
    # 81 without the bootstrap node, 2 * 9 without both others.
    assert len(refused) == 99


@pytest.mark.parametrize("away", [*PLANES, *WORKERS])
def test_who_is_away_without_the_inventory_saying_so_is_waited_for_and_named(away: str, make: Make) -> None:
    scenario = make(nodes=len(PLANES), workers=len(WORKERS))
    scenario.change(away, off=True)
    ran = scenario.run(**TALOS)
    assert ran.exit_code == 5, ran.stderr
    assert f"{away}: no answer within 5 s" in ran.stderr
    assert scenario.effects() == []
