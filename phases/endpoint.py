"""The gate before Cilium: the cluster's endpoint, by its name, from where the nodes stand.

Cilium asks for the API there before there is a pod network. A name that a node does not know, an address that nobody
holds or that Cilium itself would have to announce first, and another cluster behind the name leave it waiting for
ever. No pod is needed to see that: Talos says what the name is on each node, and whose API stands there its certificate
says, which is asked for here, at the address that the nodes go to.
"""

from __future__ import annotations

import socket
import ssl
from enum import StrEnum
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from bootstrap.engine import Conflict, Done, Foreseen, Observation, Step, StepRef, ToDo
from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.engine.step import Gate
from bootstrap.host.errors import ExitCode
from phases import machines, sources
from phases.refs import API, SECRETS
from talos.errors import TalosError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bootstrap.engine import Context, Found
    from inventory.model import Cluster, Node
    from phases.world import World
    from talos.lookup import Way

ENDPOINT: Final[StepRef[None]] = StepRef("endpoint")
REACHED: Final = "every node resolves the cluster's endpoint and reaches who is there"
OURS: Final = "the cluster's own API answers at the endpoint"
# Seconds; the control planes agree on who holds a virtual IP within ten of etcd's start, a load balancer sees them
# within as many, and a name server keeps for a minute that a name is unknown.
ENDPOINT_SECONDS: Final = 90.0
# Seconds between two looks, each of one question to every node.
ENDPOINT_INTERVAL: Final = 2.0
# An API server that restarts, or an address that moves, answers once and then not: as often in a row.
STEADY: Final = 2
# Seconds without a break: who answers while an address moves need not stay there.
FOREIGN_SECONDS: Final = 5.0
# Seconds for each of connecting and the handshake; a machine under emulation that is busy takes one.
HANDSHAKE_SECONDS: Final = 5.0


class Api(StrEnum):
    """Whose API answers at an address."""

    OURS = "ours"
    FOREIGN = "foreign"
    SILENT = "silent"


class Answer(NamedTuple):
    """What an address says.

    Attributes:
        api: whose it is.
        said: why it is not ours; empty when it is.
    """

    api: Api
    said: str = ""


def step(world: World) -> Step[None, None]:
    """The step `endpoint`; it needs neither nodes that are registered nor a pod network."""
    return Step(
        name=ENDPOINT.name,
        title="See the endpoint from every node",
        probe=partial(_probe, world),
        foresee=lambda _: Foreseen(None, None, known_after=API.name),
        gate=partial(_gate, world),
        needs=(SECRETS.name, API.name),
        reads=(SECRETS.name,),
        inputs=sources.machines(world.cluster),
    )


def ask_api(address: str, port: int, host: str, authority: bytes) -> Answer:
    """Whose API answers at an address, told from one TLS handshake without a certificate of ours.

    Args:
        address: where to ask.
        port: where to ask.
        host: the name that its certificate must hold, as whoever goes there by that name demands.
        authority: PEM certificate of the cluster's Kubernetes CA.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.decode("ascii"))
    try:
        with (
            socket.create_connection((address, port), timeout=HANDSHAKE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return Answer(Api.OURS)
    except ssl.SSLCertVerificationError as error:
        return Answer(Api.FOREIGN, error.verify_message)
    except OSError as error:
        return Answer(Api.SILENT, error.strerror or str(error) or type(error).__name__)


def judged(cluster: Cluster, ways: Mapping[str, Way], answers: Mapping[str, Answer]) -> Observation[None]:
    """What was seen of the endpoint, the first layer that does not work by its name.

    Args:
        cluster: whose endpoint it is.
        ways: of the nodes to it, by name.
        answers: of the API at each of `targets`.
    """
    host, port = _place(cluster)
    unknown = {name: way.said for name, way in ways.items() if not way.resolves}
    if unknown:
        return Observation(holds=False, seen=f"the nodes' DNS: {host} does not resolve on {_told(unknown)}")
    foreign = (_foreign(cluster, address, one.said) for address, one in answers.items() if one.api is Api.FOREIGN)
    if refused := next(chain(_announced(cluster, ways), foreign), None):
        return Observation(holds=False, seen=f"{refused.fact}: {refused.cause}", conflict=refused)
    away = {name: f"{way.address}: {way.said}" for name, way in ways.items() if way.is_there is False}
    if away:
        return Observation(holds=False, seen=f"{_holder(cluster, ways)}: nobody is there for {_told(away)}")
    silent = {f"{address}:{port}": answer.said for address, answer in answers.items() if answer.api is Api.SILENT}
    if silent:
        return Observation(holds=False, seen=f"{_holder(cluster, ways)}: no API answers at {_told(silent)}")
    at = ", ".join(answers)
    # A firewall drops the question, and where a time server answers no address is told.
    unsure = {name: way.said for name, way in ways.items() if way.address is None or way.is_there is None}
    kind = ProofKind.UNPROVEN if unsure else ProofKind.PROVEN
    doubt = f"; not seen from there: {_told(unsure)}" if unsure else ""
    proofs = (
        Proof(REACHED, f"{host} is {at} on {', '.join(ways)}{doubt}", kind),
        Proof(OURS, f"asked from here at {at}, port {port}: its certificate is {host}'s and comes from our CA"),
    )
    return Observation(
        holds=True, seen=f"{host} is {at} on {', '.join(ways)}, and our API answers there", proofs=proofs
    )


def targets(cluster: Cluster, ways: Mapping[str, Way]) -> tuple[str, ...]:
    """Where the nodes go, each address once; the name itself stands for an address that they did not say."""
    host, _ = _place(cluster)
    there = (way for way in ways.values() if way.resolves and way.is_there is not False)
    return tuple(dict.fromkeys(str(way.address or host) for way in there))


def _announced(cluster: Cluster, ways: Mapping[str, Way]) -> Iterator[Conflict]:
    """Addresses that are there only once Cilium runs."""
    for address in dict.fromkeys(way.address for way in ways.values() if way.address):
        for start, stop in cluster.pools:
            if start <= address <= stop:
                yield Conflict(
                    f"the endpoint waits for Cilium: {cluster.endpoint_host} is {address}, which Cilium announces",
                    cause=f"{address} is of the pool {start} to {stop}, and Cilium asks for the API there before",
                    remedy=f"let {cluster.endpoint_host} lead to the control planes or to their virtual IP; run again",
                    exit_code=ExitCode.FAILED,
                )


def _foreign(cluster: Cluster, address: str, said: str) -> Conflict:
    host, port = _place(cluster)
    return Conflict(
        f"the endpoint leads elsewhere: the certificate at {address}:{port} is not one of {cluster.name} for {host}",
        cause=said,
        remedy=f"correct what {cluster.endpoint_host} resolves to, or `endpoint` in {cluster.source}; run again",
        exit_code=ExitCode.FAILED,
    )


def _holder(cluster: Cluster, ways: Mapping[str, Way]) -> str:
    """Who should answer, as an operator knows it."""
    is_shared = cluster.virtual_ip in {way.address for way in ways.values()}
    return f"the virtual IP {cluster.virtual_ip}" if cluster.virtual_ip and is_shared else "the endpoint"


def _place(cluster: Cluster) -> tuple[str, int]:
    return cluster.endpoint_host, urlsplit(cluster.endpoint).port or 443


def _told(said: Mapping[str, str]) -> str:
    return machines.joined(f"{name} ({words})" for name, words in said.items())


def _probe(world: World, ctx: Context) -> Found[None, None]:
    look = _look(world, ctx)
    return Done(look.seen, None, look.proofs) if look.holds else ToDo(None, look.seen)


def _gate(world: World, _ctx: Context) -> Gate[None]:
    cluster = world.cluster
    planes = ",".join(str(node.address) for node in machines.present_control_planes(cluster))
    servers = ", ".join(map(str, cluster.networks.nameservers))
    shared = f"; talosctl -n {planes} get addresses shows who holds {cluster.virtual_ip}" if cluster.virtual_ip else ""
    return Gate(
        description=f"the API of this cluster to answer every node at {':'.join(map(str, _place(cluster)))}",
        check=partial(_look, world),
        times=STEADY,
        interval=ENDPOINT_INTERVAL,
        timeout=ENDPOINT_SECONDS,
        grace=FOREIGN_SECONDS,
        remedy=f"let {servers} answer {cluster.endpoint_host} with an address at which the control planes answer, "
        f"then run the same command again{shared}",
    )


def _look(world: World, ctx: Context) -> Observation[None]:
    cluster, credentials = world.cluster, ctx.value(SECRETS)
    host, port = _place(cluster)

    def ask(node: Node) -> Way | str:
        try:
            return world.talosctl.way_to(str(node.address), credentials.talosconfig, host)
        except TalosError as error:
            return str(error)

    with ctx.outside("request"):
        said = machines.at_once(machines.present(cluster), ask)
        mute = {name: one for name, one in said.items() if isinstance(one, str)}
        if mute:
            return Observation(holds=False, seen=f"the Talos API of {_told(mute)}")
        ways = {name: one for name, one in said.items() if not isinstance(one, str)}
        authority = credentials.bundle.kubernetes_authority
        answers = {one: ask_api(one, port, host, authority) for one in targets(cluster, ways)}
    return judged(cluster, ways, answers)
