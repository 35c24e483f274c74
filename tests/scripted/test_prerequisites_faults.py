"""Faults 41 and 42 in whole runs: what may be in the way of the first objects, and what becomes of the run."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host.objects import mapping
from kube.cluster import NAMESPACE
from phases.prerequisites import ENDING_SECONDS
from tests.scripted import invariants
from tests.scripted.cluster import applied
from tests.scripted.ring import Ring

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from tests.scripted.conftest import Make
    from tests.scripted.scenario import Scenario

FIRST: dict[str, Any] = {"request": {"only": ("preflight", "talos")}}
INVALID, TIMED_OUT = 3, 5
NAME = "external-secrets"
FOREIGN = "the token of somebody else"


def bare(make: Make) -> Scenario:
    """A cluster whose API answers, with nothing of ours in it."""
    scenario = make()
    ran = scenario.run(**FIRST)
    assert ran.exit_code == 0, ran.stderr
    return scenario


def put(scenario: Scenario, item: Object, manager: str) -> None:
    """Let somebody else have made an object."""
    with Ring(scenario.world) as ring, ring.model.look():
        ring.model.store(applied({}, item, manager))


def namespace(**labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME, "labels": dict(labels)}}


def secret(token: str) -> Object:
    metadata: Object = {"name": "onepassword-connect-token", "namespace": NAME}
    data: Object = {"token": base64.b64encode(token.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def test_a_namespace_that_somebody_made_is_adopted(make: Make) -> None:
    scenario = bare(make)
    put(scenario, namespace(team="storage"), "kubectl")
    ran = scenario.run()
    assert ran.exit_code == 0, ran.stderr
    with Ring(scenario.world) as ring:
        labels = mapping(ring.model.find(NAMESPACE, NAME), "metadata", "labels")
    assert labels["team"] == "storage"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    invariants.converged(scenario)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            [(namespace(**{"pod-security.kubernetes.io/enforce": "privileged"}), "kubectl-label")],
            'conflict with "kubectl-label": .metadata.labels.pod-security.kubernetes.io/enforce',
        ),
        ([(namespace(), "kubectl"), (secret(FOREIGN), "kubectl")], "has other content: token ("),
    ],
    ids=["namespace", "secret"],
)
def test_what_belongs_to_others_is_refused_before_anything_is_written(
    make: Make, made: list[tuple[Object, str]], said: str
) -> None:
    scenario = bare(make)
    for item, manager in made:
        put(scenario, item, manager)
    before = scenario.effects()
    ran = scenario.run()
    assert ran.exit_code == INVALID, ran.stderr
    assert said in ran.stderr
    assert FOREIGN not in ran.stderr
    assert scenario.effects() == before
    invariants.no_secrets(scenario)


def test_a_secret_of_other_content_is_replaced_when_asked_for(make: Make, wanted: list[Any]) -> None:
    scenario = bare(make)
    put(scenario, namespace(), "firstlight")
    put(scenario, secret(FOREIGN), "firstlight")
    refused, rotated = scenario.run(), scenario.run(request={"rotate": True})
    assert "--rotate replaces it" in refused.stderr
    assert rotated.exit_code == 0, rotated.stderr
    assert scenario.final_world() == wanted
    invariants.no_secrets(scenario)
    invariants.converged(scenario)


@pytest.mark.parametrize("seconds", [ENDING_SECONDS / 2, None], ids=["for a while", "for good"])
def test_a_namespace_that_is_being_deleted_is_waited_for(make: Make, wanted: list[Any], seconds: float | None) -> None:
    scenario = bare(make)
    put(scenario, namespace(), "kubectl")
    put(scenario, secret(FOREIGN), "kubectl")
    with Ring(scenario.world) as ring:
        ring.namespaces.begin(NAME, seconds)
    before = scenario.effects()
    ran = scenario.run()
    assert f"{NAME} is held by finalizers kubernetes" in ran.stderr
    if seconds is None:
        assert ran.exit_code == TIMED_OUT, ran.stderr
        assert scenario.effects() == before
        with Ring(scenario.world) as ring, ring.model.look():
            ring.namespaces.end(NAME)
        ran = scenario.run()
    assert ran.exit_code == 0, ran.stderr
    assert scenario.final_world() == wanted
    invariants.no_secrets(scenario)


def test_a_secret_that_the_inventory_lacks_is_refused_before_anything_is_touched(make: Make) -> None:
    scenario = make()
    file = scenario.root / "bootstrap" / "resources.yaml"
    text = file.read_text()
    file.write_text(text.replace("secret://connect-token", "secret://conect-token"))
    line = text[: text.index("secret://connect-token")].count("\n") + 1
    ran = scenario.run()
    assert ran.exit_code == INVALID, ran.stderr
    assert f"bootstrap/resources.yaml:{line}:" in ran.stderr
    assert "nearest: secret://connect-token" in ran.stderr
    assert scenario.effects() == []
