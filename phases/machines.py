"""Machines as the phases see them: all at the same time, those that are known to be away left out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from bootstrap.engine.retry import row_of
from bootstrap.engine.retry_table import Again
from talos.probe import Observation as Seen
from talos.probe import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bootstrap.host.errors import FirstlightError
    from inventory.model import Cluster, Node
    from phases.world import Credentials, World

AnswerT = TypeVar("AnswerT")
OtherT = TypeVar("OtherT")

# A machine that installs or reboots answers again within 100 s on hardware, 140 s under emulation.
MACHINE_SECONDS: Final = 300.0
# Seconds between two looks at machines. A look is one connection to each of a machine's two addresses, and four
# attempts a second are what a machine should have to bear.
MACHINE_INTERVAL: Final = 0.5
# Threads: the machines of a rack at the same time; a cluster with more is asked in turns.
MOST_AT_ONCE: Final = 32
# States in which a machine says who it is.
ANSWERING: Final = frozenset({State.MAINTENANCE, State.OURS, State.FOREIGN})


def present(cluster: Cluster) -> tuple[Node, ...]:
    """The nodes that are there, in the order of the file."""
    return tuple(node for node in cluster.nodes if not node.absent)


def present_control_planes(cluster: Cluster) -> tuple[Node, ...]:
    """The control planes that are there, in the order of the file."""
    return tuple(node for node in cluster.control_planes if not node.absent)


def absence(cluster: Cluster) -> str:
    """What an evidence adds about nodes that are left out; empty when none is."""
    away = [node.name for node in cluster.nodes if node.absent]
    return f"; left out, absent by the inventory: {', '.join(away)}" if away else ""


def at_once(nodes: Sequence[Node], ask: Callable[[Node], AnswerT]) -> dict[str, AnswerT]:
    """Ask every node at the same time.

    Returns:
        The answers by node name, in the nodes' order.

    Raises:
        FirstlightError: what asking the first of those that failed raised, once all have answered.
    """
    if len(nodes) <= 1:
        return {node.name: ask(node) for node in nodes}
    with ThreadPoolExecutor(min(len(nodes), MOST_AT_ONCE), thread_name_prefix="machine") as pool:
        answers = {node.name: pool.submit(ask, node) for node in nodes}
    return {name: answer.result() for name, answer in answers.items()}


def both(first: Callable[[], AnswerT], second: Callable[[], OtherT]) -> tuple[AnswerT, OtherT]:
    """Ask two things at the same time.

    Raises:
        FirstlightError: what the first of those that failed raised, once both have answered.
    """
    # Whoever looks at threads sees who asks.
    with ThreadPoolExecutor(1, thread_name_prefix=threading.current_thread().name) as pool:
        other = pool.submit(second)
        return first(), other.result()


def may_pass(error: FirstlightError) -> bool:
    """Whether a wait goes on after an error: what no time will change ends it at once."""
    return row_of(error).again is not Again.NEVER


def see_machines(world: World, credentials: Credentials) -> dict[str, Seen]:
    """What the API port of each node that is there says, by node name; reads only."""
    return at_once(present(world.cluster), lambda node: see_machine(world, credentials, node))


def see_machine(world: World, credentials: Credentials, node: Node) -> Seen:
    """What a node's API port says: at its own address, and at its maintenance address when that is silent."""
    authority = credentials.bundle.machine_authority
    seen = world.observe(str(node.address), authority)
    if seen.state in {State.CLOSED, State.SILENT} and node.maintenance_address != node.address:
        other = world.observe(str(node.maintenance_address), authority)
        return other if other.state not in {State.CLOSED, State.SILENT} else seen
    return seen


def in_state(seen: Mapping[str, Seen], *states: State) -> tuple[str, ...]:
    """The names of the nodes in one of some states."""
    return tuple(name for name, one in seen.items() if one.state in states)


def describe(seen: Mapping[str, Seen]) -> str:
    """One line about all of them."""
    return joined(f"{name}: {one.detail or one.state}" for name, one in seen.items())


def joined(lines: Iterable[str]) -> str:
    """What was seen of several machines, as one line."""
    return "; ".join(lines)
