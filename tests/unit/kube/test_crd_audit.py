"""What charts bring held against what people expect of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.host.commands import Command, Result
from bootstrap.host.errors import InputError
from bootstrap.host.yaml_io import load
from kube.crd_audit import audit, renewed, served_versions
from kube.crds import extract
from kube.helmfile import Helmfile

if TYPE_CHECKING:
    from bootstrap.host.objects import Object

CERTIFICATE = "cert-manager.io/Certificate"
FILTERED = "came through the filter, and only apiextensions.k8s.io/v1 CustomResourceDefinition may"


def definition(group: str, kind: str, *versions: str, retired: tuple[str, ...] = ()) -> Object:
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group, "names": {"kind": kind, "plural": plural},
            "versions": [{"name": name, "served": name in versions} for name in (*versions, *retired)],
        },
    }  # fmt: skip


def problems(definitions: list[Object], expected: str) -> list[str]:
    return [str(one) for one in audit(definitions, expected.encode(), cluster="lab", source="expected.yaml")]


def test_what_is_expected_is_silent() -> None:
    found = [definition("cert-manager.io", "Certificate", "v1", retired=("v1alpha2",))]
    assert problems(found, f"lab:\n  {CERTIFICATE}: [v1]\n") == []


@pytest.mark.parametrize(
    ("definitions", "said"),
    [
        (
            [definition("cert-manager.io", "Certificates", "v1")],
            [
                f"expected.yaml:2:32: {CERTIFICATE} is expected, and no chart brings it; nearest: {CERTIFICATE}s",
                "expected.yaml:2:3: cert-manager.io/Certificates (v1) is not expected",
            ],
        ),
        (
            [definition("cert-manager.io", "Certificate", "v1", "v2")],
            [f"expected.yaml:2:32: {CERTIFICATE} is to be served as v1; found v1, v2"],
        ),
        (
            [definition("cert-manager.io", "Certificate", retired=("v1",))],
            [f"expected.yaml:2:32: {CERTIFICATE} is to be served as v1; found nothing"],
        ),
    ],
)  # fmt: skip
def test_every_difference_has_its_place(definitions: list[Object], said: list[str]) -> None:
    assert problems(definitions, f"lab:\n  {CERTIFICATE}: [v1]\n") == said


def test_a_cluster_of_which_nothing_is_expected() -> None:
    with pytest.raises(InputError) as caught:
        problems([], "infra: {}")
    assert caught.value.problems[0].remedy == "./invoke crds.expect --cluster lab"


NAMES = st.text("abcdefghij", min_size=1, max_size=8)
DEFINITIONS = st.lists(
    st.builds(
        definition, NAMES.map("{}.example.org".format), NAMES.map(str.capitalize),
        st.sampled_from(["v1", "v1beta1", "v1alpha1"]),
    ),
    min_size=1,
    unique_by=lambda item: str(item["metadata"]),
)  # fmt: skip


@settings(deadline=None)
@given(DEFINITIONS, DEFINITIONS)
def test_what_was_written_down_is_what_is_expected(first: list[Object], second: list[Object]) -> None:
    written = renewed(b"", first, cluster="lab", source="expected.yaml")
    both = renewed(written.encode(), second, cluster="infra", source="expected.yaml")
    assert problems(first, both) == []
    assert bool(problems(second, both)) == (served_versions(first) != served_versions(second))
    document = load(both, source="expected.yaml")
    assert isinstance(document, dict)
    assert list(document) == ["infra", "lab"]


# extraction ----------------------------------------------------------------------------------------------------


class Printing:
    """Answers helmfile with nothing and yq with documents."""

    def __init__(self, *documents: object) -> None:
        self._printed = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in documents)

    def run(self, command: Command) -> Result:
        return Result(0, self._printed.encode() if command.program == Path("yq") else b"", b"", 0.0)


def extracted(*documents: object) -> list[Object]:
    runner = Printing(*documents)
    return extract(Helmfile(runner, Path("helmfile"), Path("helm"), Path("00-crds.yaml"), "lab"), Path("yq"))


def refusals(*documents: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        extracted(*documents)
    return [problem.text for problem in caught.value.problems]


def test_the_same_definition_may_come_twice() -> None:
    one, other = definition("b.org", "Thing", "v1"), definition("a.org", "Thing", "v1")
    assert extracted(one, other, one) == [other, one]


def test_everything_that_is_no_definition_is_told_at_once() -> None:
    renamed = definition("a.org", "Thing", "v1")
    renamed["metadata"] = {"name": "things"}
    old = {**definition("a.org", "Old", "v1"), "apiVersion": "apiextensions.k8s.io/v1beta1"}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "operator"}}
    twice = [definition("a.org", "Twice", "v1"), definition("a.org", "Twice", "v2")]
    assert refusals(deployment, old, renamed, "Error: unknown command", *twice) == [
        f"apps/v1 Deployment operator {FILTERED}",
        f"apiextensions.k8s.io/v1beta1 CustomResourceDefinition olds.a.org {FILTERED}",
        "the definition 'things' would have to be named things.a.org",
        f"a document that is no object {FILTERED}",
        "twices.a.org stands twice with different content",
    ]


def test_nothing_at_all_is_an_error() -> None:
    assert refusals() == ["no custom resource definition came out of the charts: is their switch on?"]
