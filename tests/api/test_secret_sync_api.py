"""The proof of External Secrets at a real API server, with the real definitions; the test plays the rest."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine.machine import State
from bootstrap.engine.proof import ProofKind
from bootstrap.host.objects import name_of, namespace_of, text
from inventory.model import SecretReference
from kube import webhooks
from kube.belongings import labels_of
from kube.cluster import SECRET, ObjectRef
from phases import secret_sync
from phases.secret_sync import EXTERNAL_SECRET, OPERATOR, SECRET_STORE
from tests.api import proofs
from tests.api.chart_definitions import definitions, establish
from tests.api.hooked import Mood, Webhook, listening
from tests.api.proofs import Bench, namespace, of_a_proof, say
from tests.unit.phases import rack as racks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bootstrap.host.objects import Object
    from kube.lightkube_cluster import LightkubeCluster

NAME = "externalsecret-validate"
DEFINITIONS = ("externalsecrets.external-secrets.io", "secretstores.external-secrets.io")
# A wait that expires does so after a few looks.
SOON = 20.0


def judge(tried: Any) -> str:
    """As External Secrets judges an ExternalSecret."""
    return "" if tried["spec"].get("data") else "either data or dataFrom should be specified"


@dataclass
class Controller:
    """External Secrets with 1Password Connect behind it.

    Attributes:
        cluster: theirs.
        hook: its webhook.
        value: of the field in 1Password.
        store: the store's condition.
        orders: ExternalSecrets that it saw, and whether their store was ready by then.
    """

    cluster: LightkubeCluster
    hook: Webhook
    value: str = "the token"
    store: dict[str, str] = field(default_factory=lambda: {"status": "True", "message": "store validated"})
    orders: list[Object] = field(default_factory=list)

    def turn(self) -> None:
        self.hook.mood = Mood.FINE
        for item in of_a_proof(self.cluster, SECRET_STORE):
            say(self.cluster, item, **self.store)
        for item in of_a_proof(self.cluster, EXTERNAL_SECRET):
            self.orders.append(item)
            self.sync(item)

    def sync(self, item: Any) -> None:
        # Without a template labels are those of the ExternalSecret.
        metadata = {"name": name_of(item), "namespace": namespace_of(item), "labels": item["metadata"]["labels"]}
        (wanted,) = item["spec"]["data"]
        data: Object = {wanted["secretKey"]: base64.b64encode(self.value.encode()).decode()}
        secret: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        self.cluster.apply([secret], field_manager="external-secrets")
        say(self.cluster, item, status="True", message="secret synced")


@pytest.fixture
def controller(tmp_path: Path, cluster: LightkubeCluster) -> Iterator[Controller]:
    establish(cluster, definitions("external-secrets", *DEFINITIONS))
    cluster.apply([namespace("external-secrets")])
    with listening(tmp_path, judge) as hook:
        cluster.apply([hook.configuration(NAME, OPERATOR.group, "externalsecrets")])
        proofs.await_registered(lambda: webhooks.answers(cluster, OPERATOR.webhook(())).seen, "accepts an External")
        hook.calls.clear()
        yield Controller(cluster, hook)
    cluster.delete(ObjectRef(*webhooks.CONFIGURATION, "", NAME))


def bench(controller: Controller, folder: Path, **different: Any) -> Bench:
    return Bench(controller.cluster, secret_sync.proving, folder, controller.turn, **different)


def left(cluster: LightkubeCluster) -> list[Object]:
    return [item for kind in (EXTERNAL_SECRET, SECRET, SECRET_STORE) for item in of_a_proof(cluster, kind)]


def test_the_token_comes_through_connect_and_nothing_is_left(controller: Controller, tmp_path: Path) -> None:
    labels = labels_of("secret-sync")
    killed: Object = {"name": "killed", "namespace": "external-secrets", "labels": labels}
    controller.cluster.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": killed}])
    ran = bench(controller, tmp_path).run()
    assert ran.step.state is State.DONE
    answers, syncs = ran.step.proofs
    assert (answers.kind, syncs.kind) == (ProofKind.PROVEN, ProofKind.PROVEN)
    assert "accepts an ExternalSecret and refuses a wrong one" in answers.evidence
    assert "op://lab/onepassword-connect/token came through http://opconnect.monosense.dev" in syncs.evidence
    assert left(controller.cluster) == []
    (order, *_) = controller.orders
    remote = text(order, "spec", "data", 0, "remoteRef", "key"), text(order, "spec", "data", 0, "remoteRef", "property")
    assert remote == ("onepassword-connect", "token")


def test_a_line_break_at_the_end_is_no_difference(controller: Controller, tmp_path: Path) -> None:
    controller.value = "the token\n"
    assert bench(controller, tmp_path).run().step.state is State.DONE


def test_another_value_is_refused_without_showing_either(controller: Controller, tmp_path: Path) -> None:
    controller.value = "another token"
    ran = bench(controller, tmp_path).run()
    assert ran.step.failure is not None
    assert ran.step.failure.fact == "External Secrets brought another value than our own provider reads"
    told = f"{ran.step.failure} {ran.seen}"
    assert "another token" not in told
    assert "the token" not in told.replace("that the token of the cluster", "")
    assert left(controller.cluster) == []


def test_a_store_that_is_not_ready_is_named_and_nothing_is_asked_of_it(controller: Controller, tmp_path: Path) -> None:
    controller.store = {"status": "False", "message": "unable to validate store"}
    ran = bench(controller, tmp_path, pace=SOON).run()
    assert ran.step.failure is not None
    assert "the test SecretStore to be ready" in ran.step.failure.fact
    assert "unable to validate store" in ran.step.failure.cause
    assert controller.orders == []
    assert left(controller.cluster) == []


def test_a_webhook_that_does_not_answer_is_named_with_its_layer(controller: Controller, tmp_path: Path) -> None:
    controller.cluster.apply([controller.hook.configuration(NAME, OPERATOR.group, "externalsecrets", {
        "service": {"namespace": "external-secrets", "name": "external-secrets-webhook"},
    })], force=True)  # fmt: skip
    ran = bench(controller, tmp_path, pace=SOON).run()
    assert ran.step.failure is not None
    assert "external-secrets' webhook to accept an ExternalSecret" in ran.step.failure.fact
    assert "CA: none is injected yet into externalsecret-validate.test.firstlight" in ran.step.failure.cause
    assert controller.orders == []


def test_a_token_from_elsewhere_cannot_be_compared(controller: Controller, tmp_path: Path) -> None:
    proving = bench(controller, tmp_path)
    settings = racks.cluster(1).secrets
    elsewhere = replace(settings, connect_token=SecretReference("env://TOKEN"))
    proving.settings = {"cluster": replace(racks.cluster(1), secrets=elsewhere)}
    ran = proving.run()
    assert [proof.kind for proof in ran.step.proofs] == [ProofKind.PROVEN, ProofKind.UNPROVEN]
    assert ran.step.proofs[1].evidence.endswith(
        "the token comes from env://TOKEN, which 1Password Connect does not serve"
    )


def test_a_stand_in_without_a_webhook_proves_nothing(controller: Controller, tmp_path: Path) -> None:
    controller.cluster.delete(ObjectRef(*webhooks.CONFIGURATION, "", NAME))
    ran = bench(controller, tmp_path, stand_ins=frozenset({"external-secrets"})).run()
    assert [proof.kind for proof in ran.step.proofs] == [ProofKind.UNPROVEN] * 2
    assert controller.orders == []
