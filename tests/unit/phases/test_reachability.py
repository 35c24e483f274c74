from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine.proof import ProofKind
from bootstrap.host.errors import InputError
from bootstrap.host.yaml_io import load_file
from inventory.loader import load
from kube.probe_pod import Answer, Outcome, Word
from phases.reachability import Layer, UnreachableError, judged, name_questions, network_questions, read_template

if TYPE_CHECKING:
    from inventory.model import Cluster

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cluster() -> Cluster:
    return load(ROOT, "lab")


def outcome(**words: Word) -> Outcome:
    """All connected, but for these."""
    names = ("api-by-address", "api-by-service", "dns-by-service", "name-inside", "name-outside")
    given = {name: words.get(name.replace("-", "_"), Word.CONNECTED) for name in names}
    return Outcome(
        "lab-01", {name: Answer(word, "" if word is Word.CONNECTED else f"{word}: x") for name, word in given.items()}
    )


@pytest.mark.parametrize(
    ("words", "layer"),
    [
        ({"api_by_address": Word.TIMEOUT}, Layer.CNI),
        ({"api_by_address": Word.OTHER}, Layer.CNI),
        ({"api_by_service": Word.TIMEOUT}, Layer.SERVICES),
        ({"api_by_service": Word.REFUSED}, Layer.SERVICES),
        # Without a network nothing else works either.
        ({"api_by_address": Word.TIMEOUT, "api_by_service": Word.TIMEOUT}, Layer.CNI),
        ({"dns_by_service": Word.TIMEOUT}, Layer.SERVICES),
        ({"dns_by_service": Word.TIMEOUT, "name_inside": Word.DNS, "name_outside": Word.DNS}, Layer.SERVICES),
        ({"name_inside": Word.DNS}, Layer.DNS_INSIDE),
        ({"name_inside": Word.DNS, "name_outside": Word.DNS}, Layer.DNS_INSIDE),
        ({"name_inside": Word.REFUSED}, Layer.SERVICES),
        ({"name_outside": Word.DNS}, Layer.DNS_OUTSIDE),
        ({"name_outside": Word.TIMEOUT}, Layer.EGRESS),
    ],
)
def test_the_layer_that_does_not_work_is_named(words: dict[str, Word], layer: Layer, cluster: Cluster) -> None:
    questions = (*network_questions(cluster), *name_questions(cluster))
    with pytest.raises(UnreachableError) as refused:
        judged(questions, outcome(**words), ProofKind.PROVEN)
    assert refused.value.fact.startswith(f"{layer} does not work: a pod on lab-01 cannot ")
    assert refused.value.cause.startswith("the pod said: ")
    assert refused.value.remedy


def test_a_pod_without_a_network_names_the_pod_network(cluster: Cluster) -> None:
    with pytest.raises(UnreachableError, match="CNI") as refused:
        judged(name_questions(cluster), Outcome("lab-01", hindrance="why", has_network=False), ProofKind.PROVEN)
    assert refused.value.cause == "the pod said: why"


def test_connections_are_proofs_that_say_from_where(cluster: Cluster) -> None:
    proofs = judged(network_questions(cluster), outcome(), ProofKind.STAND_IN)
    assert [(proof.evidence, proof.kind) for proof in proofs] == [
        ("10.25.13.11:6443 from a pod on lab-01", ProofKind.STAND_IN),
        ("10.253.0.1:443 from a pod on lab-01", ProofKind.STAND_IN),
    ]


def test_a_pod_that_could_not_ask_proves_nothing(cluster: Cluster) -> None:
    proofs = judged(
        name_questions(cluster), Outcome("lab-01", hindrance="ErrImagePull: no such host"), ProofKind.PROVEN
    )
    assert {proof.kind for proof in proofs} == {ProofKind.UNPROVEN}
    assert proofs[0].evidence == "the pod could not ask: ErrImagePull: no such host"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://github.com/a/b.git", "github.com:443"),
        ("https://git.example.org:8443/a/b.git", "git.example.org:8443"),
        ("ssh://git@github.com/a/b.git", "github.com:22"),
    ],
)
def test_the_name_outside_is_the_one_that_flux_pulls_from(url: str, target: str, cluster: Cluster) -> None:
    made = replace(cluster, git=replace(cluster.git, url=url))
    assert name_questions(made)[-1].target == target


def test_the_api_is_asked_at_a_control_plane_that_is_there(cluster: Cluster) -> None:
    (first,) = cluster.nodes
    away = replace(first, name="lab-00", address=first.address - 1, absent=True)
    assert network_questions(replace(cluster, nodes=(away, first)))[0].target == f"{first.address}:6443"


@pytest.mark.parametrize(
    "text",
    [
        "kind: Pod\n",
        "kind: Pod\nmetadata: {name: a, namespace: b}\nspec: {containers: []}\n",
        "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{image: x}]}\n",
        "kind: Job\nmetadata: {name: a, namespace: b}\nspec: {containers: [{image: x}]}\n",
        "kind: Pod\nmetadata: {name: a, namespace: b}\nspec: {containers: [{image: x}, {image: y}]}\n",
        "",
    ],
)
def test_a_pod_that_cannot_ask_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "bootstrap").mkdir()
    (tmp_path / "bootstrap" / "probe.yaml").write_text(text)
    with pytest.raises(InputError, match=r"bootstrap/probe.yaml cannot be used"):
        read_template(tmp_path)


def test_the_image_is_that_of_the_kubernetes_version_and_the_lab_has_it(cluster: Cluster) -> None:
    containers: Any = read_template(ROOT)["spec"]
    image = containers["containers"][0]["image"]
    assert (cluster.kubernetes_version, image) == ("1.34.1", "registry.k8s.io/e2e-test-images/agnhost:2.56")
    (images,) = load_file(ROOT / "lab" / "images.yaml")
    assert image in [one["image"] for one in images]  # type: ignore[index,union-attr,call-overload] # the file's form
