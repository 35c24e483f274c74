"""The controllers of a rehearsed cluster at a real API server: they issue, refuse and sync without a stand-in."""

from __future__ import annotations

import base64
import os
import signal
import subprocess  # noqa: TID251 # controllers that outlive a call are no business of the tool's command runner
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import pytest

from bootstrap.host.objects import text
from kube.cluster import SECRET, ObjectRef
from kube.errors import KubeError
from kube.webhooks import Webhook, answers
from phases.issuance import CERTIFICATE, ISSUER
from phases.secret_sync import EXTERNAL_SECRET, SECRET_STORE
from rehearsal.vault import Vault
from rehearsal.web import serve, serve_connect
from tests.api.chart_definitions import definitions, establish
from tests.api.proofs import namespace
from tests.api.server import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bootstrap.host.objects import Object
    from kube.lightkube_cluster import LightkubeCluster
    from tests.api.server import ApiServer

# Seconds; idle, everything is over in three.
PATIENCE = 90
CERT_MANAGER = (
    "certificaterequests.cert-manager.io", "certificates.cert-manager.io", "challenges.acme.cert-manager.io",
    "clusterissuers.cert-manager.io", "issuers.cert-manager.io", "orders.acme.cert-manager.io",
)  # fmt: skip
EXTERNAL_SECRETS = (
    "clusterexternalsecrets.external-secrets.io", "clustersecretstores.external-secrets.io",
    "externalsecrets.external-secrets.io", "pushsecrets.external-secrets.io", "clusterpushsecrets.external-secrets.io",
    "secretstores.external-secrets.io",
)  # fmt: skip
HOOK = ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
INJECTED = "cert-manager.io/inject-ca-from-secret"


@contextmanager
def started(folder: Path, server: ApiServer, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A controller, as long as it is open."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "KUBECONFIG": str(server.kubeconfig_path)}
    log = folder / f"{command[1]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    try:
        yield process
        assert process.poll() is None, log.read_text()[-2000:]
    finally:
        process.kill()
        process.wait()


def until(wanted: Callable[[], object]) -> None:
    """Wait for something to be true."""
    deadline = time.monotonic() + PATIENCE
    while not wanted():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def made(kind: tuple[str, str], spec: object, name: str, where: str) -> Object:
    return {"apiVersion": kind[0], "kind": kind[1], "metadata": {"name": name, "namespace": where}, "spec": spec}  # type: ignore[dict-item]  # any object


Starts: TypeAlias = "Callable[[], AbstractContextManager[subprocess.Popen[bytes]]]"


@pytest.fixture
def cert_manager(
    tmp_path: Path, api_server: ApiServer, cluster: LightkubeCluster, programs: Callable[[str], Path]
) -> Iterator[Starts]:
    """Controller and CA injector run; gives what starts the webhook, which is registered without a CA."""
    establish(cluster, definitions("cert-manager", *CERT_MANAGER))
    cluster.apply([namespace("lab-issuing")])
    secure, health = free_ports(2)
    program = str(programs("cert-manager"))
    flags = ("--leader-election-namespace=lab-issuing", "--metrics-listen-address=0", "--healthz-listen-address=0")
    serving = (
        f"--secure-port={secure}", f"--healthz-port={health}", "--dynamic-serving-ca-secret-namespace=lab-issuing",
        "--dynamic-serving-ca-secret-name=lab-ca", "--dynamic-serving-dns-names=localhost",
        "--metrics-listen-address=0", f"--kubeconfig={api_server.kubeconfig_path}",
    )  # fmt: skip
    hook: Object = {
        "apiVersion": HOOK[0], "kind": HOOK[1],
        "metadata": {"name": "lab-webhook", "annotations": {INJECTED: "lab-issuing/lab-ca"}},
        "webhooks": [{
            "name": "webhook.cert-manager.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            # Whole seconds; one that answers does so in milliseconds.
            "timeoutSeconds": 2,
            "clientConfig": {"url": f"https://localhost:{secure}/validate"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "lab-issuing"}},
            "rules": [{
                "apiGroups": ["cert-manager.io"], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["issuers"],
            }],
        }],
    }  # fmt: skip
    cluster.apply([hook])
    with (
        started(tmp_path, api_server, program, "controller", *flags),
        started(tmp_path, api_server, program, "cainjector", *flags),
    ):
        yield partial(started, tmp_path, api_server, program, "webhook", *serving)
    cluster.delete(ObjectRef(*HOOK, "", "lab-webhook"))
    # Others play the controller of every certificate that there is.
    cluster.delete(ObjectRef(*CERTIFICATE, "lab-issuing", "one"))
    cluster.delete(ObjectRef(*ISSUER, "lab-issuing", "own"))


def test_the_real_webhook_is_seen_to_answer_and_named_with_the_layer_at_which_it_fails(
    cluster: LightkubeCluster, cert_manager: Starts
) -> None:
    wanted = Webhook(
        "cert-manager.io", accepted=made(ISSUER, {"selfSigned": {}}, "tried", "lab-issuing"),
        refused=made(ISSUER, {}, "tried", "lab-issuing"),
    )  # fmt: skip

    def says(words: str) -> bool:
        return answers(cluster, wanted).seen.startswith(words)

    until(lambda: says("connection refused: webhook.cert-manager.io: "))
    with cert_manager() as webhook:
        until(lambda: says("webhook.cert-manager.io accepts an Issuer and refuses a wrong one"))
        webhook.send_signal(signal.SIGSTOP)
        assert says("timeout: webhook.cert-manager.io: ")
        webhook.send_signal(signal.SIGCONT)
        until(lambda: answers(cluster, wanted).holds)
    # A connection that was open may be cut first.
    until(lambda: says("connection refused: webhook.cert-manager.io: "))


def test_cert_manager_refuses_a_wrong_issuer_and_issues_by_a_right_one(
    cluster: LightkubeCluster, cert_manager: Starts
) -> None:
    with cert_manager():
        until(lambda: text(cluster.get(HOOK, "lab-webhook"), "webhooks", 0, "clientConfig", "caBundle"))

        def refusal() -> str:
            with pytest.raises(KubeError) as caught:
                cluster.try_create(made(ISSUER, {}, "wrong", "lab-issuing"))
            return str(caught.value)

        until(lambda: "at least one issuer must be configured" in refusal())
        certificate: object = {
            "secretName": "lab-issued", "dnsNames": ["lab.test"], "issuerRef": {"name": "own", "kind": "Issuer"},
        }  # fmt: skip
        issuer = made(ISSUER, {"selfSigned": {}}, "own", "lab-issuing")
        cluster.apply([issuer, made(CERTIFICATE, certificate, "one", "lab-issuing")])
        until(lambda: text(cluster.get(SECRET, "lab-issued", "lab-issuing"), "data", "tls.crt"))
        until(
            lambda: text(cluster.get(CERTIFICATE, "one", "lab-issuing"), "status", "conditions", 0, "status") == "True"
        )


def test_external_secrets_syncs_from_the_connect_of_the_lab(
    tmp_path: Path, api_server: ApiServer, cluster: LightkubeCluster, programs: Callable[[str], Path]
) -> None:
    establish(cluster, definitions("external-secrets", *EXTERNAL_SECRETS))
    vault, token = Vault("infra"), "a token"
    vault.put("an-item", {"a-field": "the value"})
    (port,) = free_ports(1)
    serve("127.0.0.1", port, serve_connect(vault, lambda: token))
    access: Object = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "connect", "namespace": "lab-syncing"},
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }  # fmt: skip
    reference = {"connectTokenSecretRef": {"name": "connect", "key": "token"}}
    onepassword = {"connectHost": f"http://127.0.0.1:{port}", "vaults": {"infra": 1}, "auth": {"secretRef": reference}}
    wanted = {
        "secretStoreRef": {"name": "connect", "kind": "SecretStore"}, "target": {"name": "synced"},
        "data": [{"secretKey": "value", "remoteRef": {"key": "an-item", "property": "a-field"}}],
    }  # fmt: skip
    cluster.apply([
        namespace("lab-syncing"), access,
        made(SECRET_STORE, {"provider": {"onepassword": onepassword}}, "connect", "lab-syncing"),
        made(EXTERNAL_SECRET, wanted, "synced", "lab-syncing"),
    ])  # fmt: skip
    program = str(programs("external-secrets"))
    flags = ("--concurrent=1", "--metrics-addr=127.0.0.1:0", "--live-addr=127.0.0.1:0", "--namespace=lab-syncing")
    with started(tmp_path, api_server, program, *flags):
        until(lambda: text(cluster.get(SECRET, "synced", "lab-syncing"), "data", "value"))
    found = text(cluster.get(SECRET, "synced", "lab-syncing"), "data", "value")
    assert base64.b64decode(found) == b"the value"
