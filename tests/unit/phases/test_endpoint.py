"""The gate before core: whether a node reaches the endpoint, and whose API answers there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from bootstrap.engine.proof import ProofKind
from bootstrap.host.objects import mapping
from inventory.loader import load
from kube.errors import KubeError, KubeErrorKind
from kube.probe_pod import Answer, Outcome, Word
from phases.endpoint import ENDPOINT, EndpointError, on_the_node, ours, reached
from phases.reachability import read_template

if TYPE_CHECKING:
    from inventory.model import Cluster
    from kube.cluster import Cluster as KubernetesApi

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cluster() -> Cluster:
    return load(ROOT, "lab")


def answered(word: Word) -> Outcome:
    return Outcome("lab-01", {ENDPOINT.name: Answer(word, "" if word is Word.CONNECTED else f"{word}: x")})


def there(answer: str | KubeError) -> KubernetesApi:
    class There:
        def identity(self) -> str:
            if isinstance(answer, KubeError):
                raise answer
            return answer

    return cast("KubernetesApi", There())


def test_a_connection_from_a_node_is_a_proof(cluster: Cluster) -> None:
    proof = reached(cluster, answered(Word.CONNECTED))
    assert (proof.kind, proof.evidence) == (ProofKind.PROVEN, "lab-k8s.monosense.io:6443 from lab-01")


@pytest.mark.parametrize(
    ("word", "fact", "remedy"),
    [
        (Word.DNS, "lab-k8s.monosense.io does not resolve on lab-01", "make 10.25.13.1 answer that name"),
        (Word.TIMEOUT, "nobody answers at lab-k8s.monosense.io:6443 for lab-01", "an address that Cilium announces"),
        (Word.REFUSED, "nobody answers at lab-k8s.monosense.io:6443 for lab-01", "an address that Cilium announces"),
    ],
)
def test_an_endpoint_that_a_node_does_not_reach_is_refused(
    cluster: Cluster, word: Word, fact: str, remedy: str
) -> None:
    with pytest.raises(EndpointError, match=fact) as refused:
        reached(cluster, answered(word))
    assert refused.value.cause == f"the pod said: {word}: x"
    assert remedy in refused.value.remedy


def test_a_pod_that_could_not_ask_proves_nothing(cluster: Cluster) -> None:
    proof = reached(cluster, Outcome("", hindrance="ErrImagePull: no such host"))
    assert (proof.kind, proof.evidence) == (ProofKind.UNPROVEN, "the pod could not ask: ErrImagePull: no such host")


@pytest.mark.parametrize(
    "answer",
    ["another uid", KubeError(KubeErrorKind.FOREIGN, "cannot ask", cause="self-signed certificate")],
    ids=["cluster", "authority"],
)
def test_another_api_at_the_endpoint_is_refused(cluster: Cluster, answer: str | KubeError) -> None:
    with pytest.raises(EndpointError, match="another API than this cluster's answers") as refused:
        ours(cluster, there(answer), "this uid")
    assert "inventory/lab.yaml" in refused.value.remedy


def test_whose_api_answers_is_a_proof_where_it_can_be_asked_from_here(cluster: Cluster) -> None:
    assert ours(cluster, there("this uid"), "this uid").kind is ProofKind.PROVEN
    away = KubeError(KubeErrorKind.UNREACHABLE, "cannot ask", cause="no route")
    proof = ours(cluster, there(away), "this uid")
    assert (proof.kind, proof.evidence) == (ProofKind.UNPROVEN, "it could not be asked from here: no route")


def test_the_pod_asks_in_the_network_of_a_node_that_is_not_ready() -> None:
    spec = mapping(on_the_node(read_template(ROOT)), "spec")
    assert spec["hostNetwork"] is True
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["containers"]
