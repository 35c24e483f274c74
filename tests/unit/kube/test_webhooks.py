"""What an API server says of a webhook, and the layer that is then to blame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from kube import webhooks
from kube.errors import KubeError, KubeErrorKind

GROUP = "example.com"
POST = 'Post "https://hook.default.svc:443/validate?timeout=10s"'
CALL = 'Internal error occurred: failed calling webhook "hook.example.com": failed to call webhook:'
DENIED = 'admission webhook "hook.example.com" denied the request: spec: at least one is wanted'


def item(name: str) -> Any:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Issuer", "metadata": {"name": name, "namespace": "a"}}


WANTED = webhooks.Webhook(GROUP, accepted=item("good"), refused=item("bad"))


def registration(*, bundle: str = "eA==", group: str = GROUP) -> Any:
    client = {"service": {"namespace": "a", "name": "hook"}, "caBundle": bundle}
    return {"webhooks": [{"name": "hook.example.com", "rules": [{"apiGroups": [group]}], "clientConfig": client}]}


@dataclass
class Api:
    """What the server says to each object by its name; nothing where it would take it."""

    said: dict[str, str]
    registrations: list[Any] = field(default_factory=lambda: [registration()])
    kind: KubeErrorKind = KubeErrorKind.UNAVAILABLE
    tried: list[str] = field(default_factory=list)

    def list_objects(self, *_: Any) -> list[Any]:
        return self.registrations

    def try_create(self, tried: Any) -> None:
        name = tried["metadata"]["name"]
        self.tried.append(name)
        if self.said.get(name):
            raise KubeError(self.kind, "cannot create it", cause=self.said[name])


def answers(api: Any) -> tuple[bool, str]:
    look = webhooks.answers(api, WANTED)
    return look.holds, look.seen


@pytest.mark.parametrize(
    ("why", "layer"),
    [
        (f"{POST}: tls: failed to verify certificate: x509: certificate signed by unknown authority", "x509"),
        (f"{POST}: x509: certificate has expired or is not yet valid", "x509"),
        (f'{POST}: no endpoints available for service "hook"', "no endpoints"),
        (f'{POST}: service "hook" not found', "no endpoints"),
        (f"{POST}: dial tcp 10.96.0.7:443: connect: connection refused", "connection refused"),
        (f"{POST}: context deadline exceeded", "timeout"),
        (f"{POST}: net/http: TLS handshake timeout", "timeout"),
        (f"{POST}: dial tcp 10.96.0.7:443: i/o timeout", "timeout"),
        (f"{POST}: dial tcp 10.96.0.7:443: connect: no route to host", "no route or no endpoints"),
        ("an error on the server has prevented the request from succeeding", "no usable answer"),
    ],
)
def test_a_call_that_fails_is_named_by_its_layer(why: str, layer: str) -> None:
    assert answers(Api({"good": f"{CALL} {why}"})) == (False, f"{layer}: hook.example.com: {why}")
    # It may be the second of the two that meets it.
    assert answers(Api({"bad": f"{CALL} {why}"})) == (False, f"{layer}: hook.example.com: {why}")


def test_it_answers_when_it_takes_the_one_and_refuses_the_other() -> None:
    api = Api({"bad": DENIED})
    assert answers(api) == (True, "hook.example.com accepts an Issuer and refuses a wrong one")
    assert api.tried == ["good", "bad"]


def test_another_refusal_of_the_good_one_is_told() -> None:
    assert answers(Api({"good": "quota exceeded"})) == (False, "it does not accept an Issuer: quota exceeded")


def test_a_wrong_one_that_somebody_else_refuses_shows_nothing() -> None:
    seen = "an Issuer that is wrong is refused not by the webhook: spec: Required value"
    assert answers(Api({"bad": "spec: Required value"})) == (False, seen)


@pytest.mark.parametrize(
    ("registrations", "seen"),
    [
        ([], "registration: no webhook is asked about example.com"),
        ([registration(group="*")], "registration: no webhook is asked about example.com"),
        ([registration(bundle="")], "CA: none is injected yet into hook.example.com"),
    ],
)
def test_without_registration_and_ca_nothing_is_tried(registrations: list[Any], seen: str) -> None:
    api = Api({"bad": DENIED}, registrations)
    assert answers(api) == (False, seen)
    assert api.tried == []


def test_an_api_server_that_does_not_answer_says_nothing_of_a_webhook() -> None:
    with pytest.raises(KubeError):
        answers(Api({"good": "connection refused"}, kind=KubeErrorKind.UNREACHABLE))
