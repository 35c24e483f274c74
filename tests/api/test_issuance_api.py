"""The proof of cert-manager at a real API server, with the real definitions; the test plays webhook and controller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine.machine import State
from bootstrap.engine.proof import ProofKind
from bootstrap.host.objects import mapping, namespace_of, text
from kube import webhooks
from kube.belongings import labels_of
from kube.cluster import NAMESPACE, SECRET, ObjectRef, reference
from phases import issuance
from phases.admission import TIMES
from phases.issuance import CERTIFICATE, ISSUER, OPERATOR
from tests.api import proofs
from tests.api.chart_definitions import definitions, establish
from tests.api.hooked import Mood, Webhook, listening
from tests.api.proofs import Bench, bury, namespace, of_a_proof, say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bootstrap.host.objects import Object
    from kube.lightkube_cluster import LightkubeCluster

NAME = "cert-manager-webhook"
# A wait that expires does so after a few looks.
SOON = 20.0
DEFINITIONS = ("issuers.cert-manager.io", "certificates.cert-manager.io")


def judge(tried: Any) -> str:
    """As cert-manager judges Issuers."""
    return "" if tried["kind"] != "Issuer" or tried["spec"] else "spec: at least one issuer must be configured"


@dataclass
class Controller:
    """cert-manager, and the namespace controller.

    Attributes:
        cluster: theirs.
        hook: its webhook.
        moods: of the webhook, one for each turn.
        issues: whether it does its work.
        keys: of the Secret that it writes.
    """

    cluster: LightkubeCluster
    hook: Webhook
    moods: list[Mood] = field(default_factory=list)
    issues: bool = True
    keys: tuple[str, ...] = ("tls.crt", "tls.key")

    def turn(self) -> None:
        self.hook.mood = self.moods.pop(0) if self.moods else Mood.FINE
        bury(self.cluster, (ISSUER, CERTIFICATE, SECRET))
        for item in self.cluster.list_objects(ISSUER):
            say(self.cluster, item, status="True", message="")
        for item in self.cluster.list_objects(CERTIFICATE) if self.issues else []:
            self.issue(item)

    def issue(self, item: Any) -> None:
        name: Object = {"name": text(item, "spec", "secretName"), "namespace": namespace_of(item)}
        data: Object = dict.fromkeys(self.keys, "eA==")
        secret: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": name, "data": data}
        self.cluster.apply([secret], field_manager="cert-manager")
        say(self.cluster, item, status="True", message="Certificate is up to date and has not expired")


@pytest.fixture
def controller(tmp_path: Path, cluster: LightkubeCluster) -> Iterator[Controller]:
    found = definitions("cert-manager", *DEFINITIONS)
    establish(cluster, found)
    cluster.apply([namespace("cert-manager")])
    with listening(tmp_path, judge) as hook:
        cluster.apply([hook.configuration(NAME, OPERATOR.group, "*")])
        proofs.await_registered(lambda: webhooks.answers(cluster, OPERATOR.webhook(())).seen, "accepts an Issuer")
        hook.calls.clear()
        playing = Controller(cluster, hook)
        yield playing
        playing.turn()
    cluster.delete(ObjectRef(*webhooks.CONFIGURATION, "", NAME))


def bench(controller: Controller, folder: Path, **different: Any) -> Bench:
    return Bench(controller.cluster, issuance.proving, folder, controller.turn, **different)


def test_a_certificate_is_issued_once_the_webhook_has_answered_several_times_in_a_row(
    controller: Controller, tmp_path: Path
) -> None:
    controller.hook.mood = Mood.FOREIGN
    controller.moods = [Mood.FOREIGN, Mood.FINE, Mood.FINE, Mood.BROKEN]
    ran = bench(controller, tmp_path).run()
    assert ran.step.state is State.DONE
    # One call where it fails, two where it answers; a failure in between makes the count begin anew.
    tried = controller.hook.calls[: 7 + 2 * TIMES]
    assert tried == [Mood.FOREIGN] * 2 + [Mood.FINE] * 4 + [Mood.BROKEN] + [Mood.FINE] * 2 * TIMES
    assert any("x509: cert-manager-webhook.test.firstlight: " in seen for seen in ran.seen)
    answers, issues = ran.step.proofs
    assert (answers.kind, issues.kind) == (ProofKind.PROVEN, ProofKind.PROVEN)
    assert f"accepts an Issuer and refuses a wrong one, {TIMES} times in a row" in answers.evidence
    assert "Certificate is up to date and has not expired" in issues.evidence


def test_nothing_of_a_proof_is_left_behind(controller: Controller, tmp_path: Path) -> None:
    left = namespace("of-a-killed-run", labels_of("certificates"))
    controller.cluster.apply([left])
    assert bench(controller, tmp_path).run().step.state is State.DONE
    assert of_a_proof(controller.cluster, NAMESPACE) == []
    assert controller.cluster.get(NAMESPACE, "of-a-killed-run") is None
    assert controller.cluster.list_objects(CERTIFICATE) == []


def test_a_certificate_that_is_not_issued_fails_the_step_and_leaves_nothing(
    controller: Controller, tmp_path: Path
) -> None:
    controller.issues = False
    ran = bench(controller, tmp_path, pace=SOON).run()
    assert ran.step.state is State.FAILED
    assert ran.step.failure is not None
    assert "cert-manager to issue the test Certificate" in ran.step.failure.fact
    assert "says nothing of itself yet" in ran.step.failure.cause
    assert all(text(item, "metadata", "deletionTimestamp") for item in of_a_proof(controller.cluster, NAMESPACE))


def test_a_secret_without_its_key_is_named(controller: Controller, tmp_path: Path) -> None:
    controller.keys = ("tls.crt",)
    ran = bench(controller, tmp_path, pace=SOON).run()
    assert ran.step.failure is not None
    assert "its Secret has no tls.key" in ran.step.failure.cause


def test_a_webhook_that_never_answers_is_what_the_run_ends_with(controller: Controller, tmp_path: Path) -> None:
    controller.hook.mood = Mood.FOREIGN
    controller.moods = [Mood.FOREIGN] * 1000
    ran = bench(controller, tmp_path, pace=SOON).run()
    assert ran.step.failure is not None
    assert "cert-manager's webhook to accept an Issuer" in ran.step.failure.fact
    assert "x509: cert-manager-webhook.test.firstlight: " in ran.step.failure.cause
    assert of_a_proof(controller.cluster, NAMESPACE) == []


def test_a_stand_in_that_has_a_webhook_is_asked_and_named_one(controller: Controller, tmp_path: Path) -> None:
    ran = bench(controller, tmp_path, stand_ins=frozenset({"cert-manager"})).run()
    assert [proof.kind for proof in ran.step.proofs] == [ProofKind.STAND_IN] * 2


def test_a_stand_in_without_a_webhook_proves_nothing(controller: Controller, tmp_path: Path) -> None:
    controller.cluster.delete(ObjectRef(*webhooks.CONFIGURATION, "", NAME))
    ran = bench(controller, tmp_path, stand_ins=frozenset({"cert-manager"})).run()
    assert [proof.kind for proof in ran.step.proofs] == [ProofKind.UNPROVEN] * 2
    assert controller.hook.calls == []


def test_what_is_made_fits_the_real_definitions(controller: Controller) -> None:
    made = issuance.objects("default", {})
    for item in made[1:]:
        controller.cluster.try_create(item)
    assert reference(made[2]) == ObjectRef(*CERTIFICATE, "default", text(mapping(made[2], "metadata"), "name"))
