"""The gate before Cilium: what the nodes make of the endpoint, and whose API answers there."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine.proof import ProofKind
from bootstrap.host.errors import ExitCode
from inventory.loader import load
from phases.endpoint import Answer, Api, judged, targets
from talos.lookup import Way

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inventory.model import Cluster

ROOT = Path(__file__).parents[3]
HOST, SHARED = "infra-k8s.monosense.io", "10.25.11.10"
UNKNOWN = Way(None, resolves=False, is_there=False, said="no such host")
TIMED = Way(None, resolves=True, is_there=True, said="it gives the time")
DROPPED = Way(IPv4Address(SHARED), resolves=True, is_there=None, said="i/o timeout")
OURS, FOREIGN, SILENT = Answer(Api.OURS), Answer(Api.FOREIGN, "self-signed"), Answer(Api.SILENT, "refused")


@pytest.fixture
def cluster() -> Cluster:
    return load(ROOT, "infra")


def way(address: str = SHARED, *, is_there: bool = True) -> Way:
    said = "connection refused" if is_there else "no route to host"
    return Way(IPv4Address(address), resolves=True, is_there=is_there, said=said)


def ways(*found: Way) -> dict[str, Way]:
    """What the name is on infra-01, infra-02, infra-03."""
    return dict(zip(("infra-01", "infra-02", "infra-03"), found, strict=True))


def test_a_name_that_leads_every_node_to_our_api_is_a_proof(cluster: Cluster) -> None:
    seen = judged(cluster, ways(way(), way(), way()), {SHARED: OURS})
    assert seen.holds
    assert [(proof.kind, proof.evidence) for proof in seen.proofs] == [
        (ProofKind.PROVEN, f"{HOST} is {SHARED} on infra-01, infra-02, infra-03"),
        (
            ProofKind.PROVEN,
            f"asked from here at {SHARED}, port 6443: its certificate is {HOST}'s and comes from our CA",
        ),
    ]


AWAY = way(is_there=False)


@pytest.mark.parametrize(
    ("found", "answers", "said"),
    [
        (ways(way(), UNKNOWN, way()), {SHARED: OURS}, f"the nodes' DNS: {HOST} does not resolve on infra-02 (no such"),
        # Where the name is unknown nobody has been asked.
        (ways(UNKNOWN, UNKNOWN, AWAY), {}, f"the nodes' DNS: {HOST} does not resolve on infra-01 (no such host); inf"),
        (ways(AWAY, way(), way()), {SHARED: OURS}, f"the virtual IP {SHARED}: nobody is there for infra-01 ({SHARED}"),
        (ways(way(), way(), way()), {SHARED: SILENT}, f"the virtual IP {SHARED}: no API answers at {SHARED}:6443"),
        # One that the name leads to by chance is not the shared one.
        (
            ways(*[way("10.25.11.99", is_there=False)] * 3), {},
            "the endpoint: nobody is there for infra-01 (10.25.11.99: no route to host); infra-02",
        ),
        (
            ways(way(), way(), way("10.25.11.13")), {SHARED: OURS, "10.25.11.13": SILENT},
            f"the virtual IP {SHARED}: no API answers at 10.25.11.13:6443 (refused)",
        ),
    ],
)  # fmt: skip
def test_the_layer_that_does_not_work_is_named_and_waited_for(
    found: Mapping[str, Way], answers: Mapping[str, Answer], said: str, cluster: Cluster
) -> None:
    seen = judged(cluster, found, answers)
    assert seen.seen.startswith(said)
    assert (seen.holds, seen.conflict, seen.proofs) == (False, None, ())


def test_another_api_at_one_of_the_addresses_ends_the_wait(cluster: Cluster) -> None:
    seen = judged(cluster, ways(way(), way("10.25.11.20"), AWAY), {SHARED: OURS, "10.25.11.20": FOREIGN})
    assert not seen.holds
    assert seen.conflict
    assert "the certificate at 10.25.11.20:6443 is not one of infra" in seen.conflict.fact
    assert (seen.conflict.cause, seen.conflict.exit_code) == ("self-signed", ExitCode.FAILED)
    assert "inventory/infra.yaml" in seen.conflict.remedy


@pytest.mark.parametrize("address", ["10.25.11.100", "10.25.11.105", "10.25.11.119"])
def test_an_endpoint_that_cilium_would_have_to_announce_first_ends_the_wait(address: str, cluster: Cluster) -> None:
    seen = judged(cluster, ways(way(), way(address, is_there=False), way()), {SHARED: OURS})
    assert not seen.holds
    assert seen.conflict
    assert f"{HOST} is {address}, which Cilium announces" in seen.conflict.fact
    assert "of the pool 10.25.11.100 to 10.25.11.119" in seen.conflict.cause


@pytest.mark.parametrize("address", ["10.25.11.99", "10.25.11.120"])
def test_an_address_beside_the_pools_may_be_the_endpoint(address: str, cluster: Cluster) -> None:
    assert judged(cluster, ways(*[way(address)] * 3), {address: OURS}).holds


@pytest.mark.parametrize(
    ("other", "where", "doubt"),
    [(TIMED, (SHARED, HOST), "infra-02 (it gives the time)"), (DROPPED, (SHARED,), "infra-02 (i/o timeout)")],
)
def test_a_node_that_cannot_tell_leaves_it_unproven(
    other: Way, where: tuple[str, ...], doubt: str, cluster: Cluster
) -> None:
    found = ways(way(), other, way())
    assert targets(cluster, found) == where
    seen = judged(cluster, found, dict.fromkeys(where, OURS))
    assert seen.holds
    assert [proof.kind for proof in seen.proofs] == [ProofKind.UNPROVEN, ProofKind.PROVEN]
    assert seen.proofs[0].evidence.endswith(f"not seen from there: {doubt}")


def test_each_address_is_asked_once_and_only_where_somebody_is(cluster: Cluster) -> None:
    assert targets(cluster, ways(way(), way(), way("10.25.11.13"))) == (SHARED, "10.25.11.13")
    assert targets(cluster, ways(AWAY, UNKNOWN, AWAY)) == ()


def test_an_endpoint_without_a_virtual_ip_is_called_so(cluster: Cluster) -> None:
    balanced = replace(cluster, virtual_ip=None)
    assert judged(balanced, ways(*[AWAY] * 3), {}).seen.startswith("the endpoint: nobody is there")
