"""The step that starts etcd: once in a cluster's life, on the pinned node, with evidence from every control plane.

Nothing in Talos prevents a second bootstrap on another node, and a second etcd is a second cluster. So it is sent
only where every control plane that is there showed an empty data directory, or a disk without a state of its own;
whoever cannot be asked blocks. The answer proves nothing: what counts is data, health and members.
"""

from __future__ import annotations

import time
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
from bootstrap.engine.retry import row_of
from bootstrap.engine.step import Gate, is_transient
from bootstrap.host.errors import FirstlightError
from phases import machines, sources
from phases.quorum import joined, look_at_all, refusal, with_data
from phases.refs import ETCD, INSTALL, SECRETS
from talos.errors import Kind, TalosError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.host.errors import InputError
    from inventory.model import Node
    from phases.world import Credentials, World

# Pulling etcd's image and starting it takes 6 s after the image is there. The others find it through the endpoint of
# the first one's API server (Talos v1.11.5, k8s.EndpointController), which three emulated machines on two processors
# wait minutes for, and join one by one, each as a learner first.
ETCD_SECONDS: Final = 600.0
# Seconds between two looks; each asks a control plane twice, and four questions a second are what it should bear.
ETCD_INTERVAL: Final = 0.5
# Seconds between two looks before the bootstrap, each of up to four questions to a control plane.
EVIDENCE_INTERVAL: Final = 1.0
# Looks before a bootstrap that was taken and left no trace is sent again, so five minutes at least: as long as Omni
# waits (siderolabs/omni#3323). A reboot loses the intent, and a slow registry looks the same for minutes.
LOOKS_BEFORE_RESENDING: Final = 300
# The above twice, and time for the clock to come into sync.
BOOTSTRAP_SECONDS: Final = 720.0
# Seconds by which our clock may be off; certificates are backdated by far more.
MOST_SKEW: Final = 60.0
# What Talos writes when it takes a bootstrap (v1.11.5, pkg/system/services/etcd.go); a reboot takes both away, the
# line and the intent. `Preparing` alone says nothing: it is also how etcd waits to be bootstrapped.
BOOTSTRAP_TAKEN: Final = "service[etcd](Finished): Bootstrap requested"


def step(world: World) -> Step[str, None]:
    """The step `etcd`."""
    return Step(
        name=ETCD.name,
        title="Start etcd, once, on the bootstrap node",
        probe=partial(_probe, world),
        foresee=lambda _: Foreseen("not bootstrapped", None, known_after=INSTALL.name),
        actions=partial(_actions, world),
        gate=partial(_gate, world),
        needs=(SECRETS.name, INSTALL.name),
        reads=(SECRETS.name,),
        inputs=sources.inventory(world.cluster),
    )


class ClockError(FirstlightError):
    """Our clock and a node's are too far apart for certificates to mean anything."""


def _probe(world: World, ctx: Context) -> Found[str, None]:
    with ctx.outside("request"):
        views = look_at_all(world, ctx.value(SECRETS))
    refused = refusal(world.cluster, views)
    if refused:
        return _conflict(refused)
    done, seen = joined(world.cluster, views)
    if done:
        return Done(f"{seen}{machines.absence(world.cluster)}", None)
    # Facts say why a bootstrap is wanted; where there is data nothing is ever sent.
    return ToDo("" if with_data(views) else "not bootstrapped", seen)


def _conflict(refused: InputError) -> Conflict:
    return Conflict(refused.fact, cause=refused.cause, remedy=refused.remedy, problems=refused.problems)


def _actions(world: World, ctx: Context, reason: str) -> Sequence[Action]:
    """The bootstrap; `reason` is empty where it was sent before and etcd only has to come up."""
    if not reason:
        return []
    node = world.cluster.bootstrap

    def send(inner: Context) -> None:
        inner.wait(
            Gate(
                description=f"{node.name} to take the bootstrap and every control plane to be without data before it",
                check=_Bootstrap(world, ctx.value(SECRETS)),
                transient=machines.may_pass,
                interval=EVIDENCE_INTERVAL,
                timeout=BOOTSTRAP_SECONDS,
                remedy=f"check that {_time_servers(world)} answers {node.name}, and its registry for etcd's image",
            )
        )

    return [
        Action(
            description=f"bootstrap etcd on {node.name}",
            reason=f"etcd is {reason} anywhere",
            run=send,
            recognised_by="etcd is healthy there and has the node as its member",
            changes=Changes.MACHINES,
            # The pinned node itself refuses a second one as soon as its data directory has content.
            kill_safety=KillSafety.ONCE,
        )
    ]


class _Bootstrap:
    """Sends the bootstrap when the evidence allows it, and follows it until etcd has data."""

    def __init__(self, world: World, credentials: Credentials) -> None:
        self._world = world
        self._credentials = credentials
        self._node = world.cluster.bootstrap
        self._looks_left = 0

    def __call__(self, _: Context) -> Observation[None]:
        views = look_at_all(self._world, self._credentials)
        refused = refusal(self._world.cluster, views)
        if refused:
            raise refused
        if there := with_data(views):
            return Observation(holds=True, seen=f"etcd has data on {', '.join(there)}")
        unknown = [f"{name} cannot be asked: {view.seen}" for name, view in views.items() if not view.is_empty]
        if unknown:
            return Observation(holds=False, seen=machines.joined(unknown))
        if self._looks_left:
            self._looks_left -= 1
            return Observation(holds=False, seen=f"sent, no data yet: {views[self._node.name].seen}")
        return self._send()

    def _send(self) -> Observation[None]:
        address, talosconfig = str(self._node.address), self._credentials.talosconfig
        try:
            # An intent that is there already is not repeated: a second one is taken as well, until etcd has data.
            if BOOTSTRAP_TAKEN not in self._world.talosctl.kernel_log(address, talosconfig):
                _compare_clocks(self._world, self._node, self._credentials)
                self._world.talosctl.bootstrap(address, talosconfig)
        except TalosError as error:
            return self._failed(error)
        self._looks_left = LOOKS_BEFORE_RESENDING
        return Observation(holds=False, seen="taken")

    def _failed(self, error: TalosError) -> Observation[None]:
        if error.kind is Kind.NOT_IN_SYNC:
            return Observation(holds=False, seen=f"{error}; its NTP server is {_time_servers(self._world)}")
        if row_of(error).effect:
            self._looks_left = LOOKS_BEFORE_RESENDING
        elif error.kind is not Kind.ALREADY_EXISTS and not machines.may_pass(error):
            raise error
        return Observation(holds=False, seen=str(error))


def _compare_clocks(world: World, node: Node, credentials: Credentials) -> None:
    before = time.time()
    try:
        times = world.talosctl.times(str(node.address), credentials.talosconfig)
    except TalosError:
        # The server may be silent just now; Talos itself knows whether the node ever was in sync.
        return
    # The node read its clock some time between our two readings, so half of that is not known.
    ours = (before + time.time()) / 2
    skew = ours - times.node.timestamp()
    if abs(skew) <= MOST_SKEW:
        return
    lead = "ahead of" if skew > 0 else "behind"
    raise ClockError(
        f"our clock is {abs(skew):.0f} s {lead} the clock of {node.name}",
        cause=f"its NTP server {times.server} says {times.reference:%Y-%m-%d %H:%M:%S} UTC, "
        f"the node {times.node:%Y-%m-%d %H:%M:%S} UTC",
        remedy=f"set whichever is wrong by {times.server}; certificates made with a wrong clock are refused",
    )


def _time_servers(world: World) -> str:
    return ", ".join(world.cluster.networks.time_servers)


def _gate(world: World, ctx: Context) -> Gate[None]:
    credentials = ctx.value(SECRETS)

    def check(_: Context) -> Observation[None]:
        views = look_at_all(world, credentials)
        refused = refusal(world.cluster, views)
        if refused:
            raise refused
        return Observation(*joined(world.cluster, views))

    return Gate(
        description="every control plane to be a healthy, voting member of etcd",
        check=check,
        transient=is_transient,
        interval=ETCD_INTERVAL,
        timeout=ETCD_SECONDS,
    )
