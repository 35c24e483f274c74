"""Webhooks that a real API server asks: each layer that fails is named, and answering once is not enough."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host.objects import name_of
from kube import webhooks
from kube.cluster import ObjectRef
from tests.api.chart_definitions import definitions, establish
from tests.api.hooked import Mood, Webhook, listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bootstrap.host.objects import Object
    from kube.cluster import Look
    from kube.lightkube_cluster import LightkubeCluster

GROUP = "test.firstlight"
NAME = "hooked"
KIND = "Hooked"
# Seconds; an API server takes a registration over within one.
PATIENCE = 30.0


def item(size: int) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1", "kind": KIND, "metadata": {"name": "one", "namespace": "default"},
        "spec": {"size": size},
    }  # fmt: skip


WANTED = webhooks.Webhook(GROUP, accepted=item(1), refused=item(-1))


def definition() -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"hookeds.{GROUP}"},
        "spec": {
            "group": GROUP, "names": {"kind": KIND, "plural": "hookeds"}, "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {
                    "type": "integer"}}}}}}}],
        },
    }  # fmt: skip


def judge(tried: Any) -> str:
    return "" if tried["spec"]["size"] > 0 else "it is too small"


@pytest.fixture
def hook(tmp_path: Path, cluster: LightkubeCluster) -> Iterator[Webhook]:
    establish(cluster, (definition(),))
    with listening(tmp_path, judge) as hook:
        yield hook
    cluster.delete(ObjectRef(*webhooks.CONFIGURATION, "", NAME))


def eventually(cluster: LightkubeCluster, words: str) -> Look:
    """What is seen once the API server knows of a registration."""
    deadline = time.monotonic() + PATIENCE
    while words not in (look := webhooks.answers(cluster, WANTED)).seen:
        assert time.monotonic() < deadline, look.seen
        time.sleep(0.05)
    return look


def register(cluster: LightkubeCluster, hook: Webhook, client: Object | None = None) -> None:
    cluster.apply([hook.configuration(NAME, GROUP, "hookeds", client)])


def test_a_webhook_that_judges_answers(cluster: LightkubeCluster, hook: Webhook) -> None:
    register(cluster, hook)
    look = eventually(cluster, "hooked.test.firstlight accepts a Hooked and refuses a wrong one")
    assert look.holds
    assert cluster.get((f"{GROUP}/v1", KIND), "one", "default") is None


@pytest.mark.parametrize(
    ("mood", "layer"),
    [
        (Mood.FOREIGN, "x509: hooked.test.firstlight: "),
        (Mood.BROKEN, "no usable answer: hooked.test.firstlight: "),
        (Mood.SLOW, "timeout: hooked.test.firstlight: "),
    ],
)
def test_a_webhook_in_trouble_is_named_with_its_layer(
    cluster: LightkubeCluster, hook: Webhook, mood: Mood, layer: str
) -> None:
    register(cluster, hook)
    eventually(cluster, "accepts a Hooked")
    hook.mood = mood
    look = webhooks.answers(cluster, WANTED)
    assert not look.holds
    assert look.seen.startswith(layer)
    assert hook.calls[-1] is mood


def test_a_port_that_refuses_is_named(cluster: LightkubeCluster, hook: Webhook) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    register(cluster, hook, {"url": f"https://127.0.0.1:{port}/validate"})
    assert not eventually(cluster, "connection refused: hooked.test.firstlight: ").holds


def service(name: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": [{"port": 443}]},
    }  # fmt: skip


def test_a_service_without_endpoints_is_named(cluster: LightkubeCluster, hook: Webhook) -> None:
    client: Object = {"service": {"namespace": "default", "name": "nobody", "path": "/validate"}}
    register(cluster, hook, {**client, "caBundle": hook.bundle})
    look = eventually(cluster, 'no endpoints: hooked.test.firstlight: Post "https://nobody.default.svc:443/validate')
    assert 'service "nobody" not found' in look.seen
    cluster.apply([service("nobody")])
    assert not eventually(cluster, 'no endpoints available for service "nobody"').holds
    cluster.delete(ObjectRef("v1", "Service", "default", "nobody"))


def test_a_ca_that_is_not_injected_yet_is_named(cluster: LightkubeCluster, hook: Webhook) -> None:
    register(cluster, hook, {"service": {"namespace": "default", "name": "nobody", "path": "/validate"}})
    look = webhooks.answers(cluster, WANTED)
    assert (look.holds, look.seen) == (False, "CA: none is injected yet into hooked.test.firstlight")


def test_a_webhook_that_nobody_asks_is_named(cluster: LightkubeCluster, hook: Webhook) -> None:
    look = webhooks.answers(cluster, WANTED)
    assert (look.holds, look.seen) == (False, "registration: no webhook is asked about test.firstlight")
    assert hook.calls == []


def test_a_webhook_whose_failures_are_ignored_does_not_answer(cluster: LightkubeCluster, hook: Webhook) -> None:
    configuration: Any = hook.configuration(NAME, GROUP, "hookeds")
    configuration["webhooks"][0]["failurePolicy"] = "Ignore"
    cluster.apply([configuration])
    eventually(cluster, "accepts a Hooked")
    hook.mood = Mood.BROKEN
    look = webhooks.answers(cluster, WANTED)
    assert (look.holds, look.seen) == (False, "a Hooked that is wrong is refused not at all")


def test_a_conversion_without_its_ca_is_named(cluster: LightkubeCluster, hook: Webhook) -> None:
    register(cluster, hook)
    converted = replace(WANTED, converted=(f"hookeds.{GROUP}",))
    look = webhooks.answers(cluster, converted)
    assert (look.holds, look.seen) == (False, "CA: none is injected yet into the conversion of hookeds.test.firstlight")


def test_what_the_real_definitions_say_of_conversion() -> None:
    found = definitions("external-secrets", "externalsecrets.external-secrets.io")
    assert webhooks.converted_by_webhook(found, "external-secrets.io") == ()
    by_webhook: Any = {**found[0], "spec": {**found[0]["spec"], "conversion": {"strategy": "Webhook"}}}  # type: ignore[dict-item] # as it is
    assert webhooks.converted_by_webhook((by_webhook,), "external-secrets.io") == (name_of(found[0]),)
    assert webhooks.converted_by_webhook((by_webhook,), "cert-manager.io") == ()
