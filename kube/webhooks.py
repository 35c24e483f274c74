"""Whether a validating webhook answers, shown by objects that the API server is asked to try and not to store.

A Deployment that is available says nothing of it: its CA may not be injected yet, its Service may have no endpoints,
its port may refuse (cert-manager#2908, external-secrets#2217). So an object is tried that the webhook accepts, and one
that fits the schema and that only the webhook refuses: without that a webhook that nobody asks would look fine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.engine.step import Observation
from bootstrap.host.objects import Object, mapping, name_of, objects, sequence, text
from kube.cluster import CUSTOM_RESOURCE_DEFINITION, KindRef
from kube.errors import KubeError, KubeErrorKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kube.cluster import Cluster, Look, Reading

CONFIGURATION: Final[KindRef] = ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
# What the API server says of a call that failed, by the layer that is to blame; the first that fits counts.
_LAYERS: Final = (
    ("x509", re.compile(r"x509:|tls:|root certificates")),
    ("no endpoints", re.compile(r"no endpoints available|service \"[^\"]*\" not found")),
    ("connection refused", re.compile(r"connection refused")),
    ("timeout", re.compile(r"deadline exceeded|[Tt]imeout|timed out")),
    # The first is also what Cilium answers for a Service without endpoints, to a process of the host.
    ("no route or no endpoints", re.compile(r"no route to host|network is unreachable|no such host")),
)
# Of all other answers to a call, such as a status 500 of the webhook itself.
_OTHER: Final = "no usable answer"
# Of the API server itself: nothing is said about a webhook.
_NO_ANSWER: Final = frozenset({KubeErrorKind.UNREACHABLE, KubeErrorKind.CUT_OFF, KubeErrorKind.FOREIGN})
_FAILED_CALL: Final = re.compile(
    r"failed calling webhook \"(?P<name>[^\"]+)\": (?:failed to call webhook: )?(?P<why>.*)"
)
_ADDRESS: Final = re.compile(r"^Post \"[^\"]*\": ")
_REFUSAL: Final = re.compile(r"admission webhook \"(?P<name>[^\"]+)\" denied the request")


@dataclass(frozen=True)
class Webhook:
    """A validating webhook, by what it must say to two objects.

    Attributes:
        group: API group that it watches over.
        accepted: an object that it accepts.
        refused: one that fits the schema and that only the webhook refuses.
        converted: names of the definitions whose objects it also converts.
    """

    group: str
    accepted: Object
    refused: Object
    converted: tuple[str, ...] = ()


def registered(api: Reading, group: str) -> list[Object]:
    """The validating webhooks that are asked about an API group by its name.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    return [
        webhook
        for configuration in api.list_objects(CONFIGURATION)
        for webhook in objects(configuration, "webhooks")
        if any(group in sequence(rule, "apiGroups") for rule in objects(webhook, "rules"))
    ]


def converted_by_webhook(definitions: Sequence[Object], group: str) -> tuple[str, ...]:
    """The names of those definitions of a group whose objects a webhook converts."""
    return tuple(
        name_of(item)
        for item in definitions
        if text(item, "spec", "group") == group and text(item, "spec", "conversion", "strategy") == "Webhook"
    )


def answers(api: Cluster, webhook: Webhook) -> Look:
    """Whether a webhook is registered, has its CA everywhere, accepts the one object and refuses the other.

    What is seen names the layer that fails: registration, CA, x509, no endpoints, connection refused, timeout.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    trouble = _injection(api, webhook)
    if trouble:
        return Observation(holds=False, seen=trouble)
    kind = text(webhook.accepted, "kind")
    refusal = _refusal(api, webhook.accepted)
    if refusal:
        return Observation(holds=False, seen=_failed(refusal) or f"it does not accept {_a(kind)}: {refusal}")
    refusal = _refusal(api, webhook.refused)
    found = _REFUSAL.search(refusal)
    if found:
        return Observation(holds=True, seen=f"{found['name']} accepts {_a(kind)} and refuses a wrong one")
    who = f"not by the webhook: {refusal}" if refusal else "not at all"
    return Observation(holds=False, seen=_failed(refusal) or f"{_a(kind)} that is wrong is refused {who}")


def _injection(api: Reading, webhook: Webhook) -> str:
    """What is missing of the CA that the API server needs to trust the webhook; empty when nothing is."""
    found = registered(api, webhook.group)
    if not found:
        return f"registration: no webhook is asked about {webhook.group}"
    # A webhook behind a URL may have a certificate that everybody trusts.
    lacking = [text(each, "name") for each in found if mapping(each, "clientConfig", "service") and not _has_ca(each)]
    for name in webhook.converted:
        live = api.get(CUSTOM_RESOURCE_DEFINITION, name) or {}
        if not _has_ca(mapping(live, "spec", "conversion", "webhook")):
            lacking.append(f"the conversion of {name}")
    return f"CA: none is injected yet into {', '.join(lacking)}" if lacking else ""


def _has_ca(webhook: Object) -> bool:
    return bool(text(webhook, "clientConfig", "caBundle"))


def _refusal(api: Cluster, item: Object) -> str:
    """What the server says against an object; empty when it would take it.

    Raises:
        KubeError: it says nothing.
    """
    try:
        api.try_create(item)
    except KubeError as error:
        if error.kind in _NO_ANSWER:
            raise
        return error.cause
    return ""


def _failed(cause: str) -> str:
    """The layer that keeps a webhook from answering, with the server's words; empty when it did answer."""
    found = _FAILED_CALL.search(cause)
    if not found:
        return ""
    # The address in front of the words holds a time limit, which is no timeout.
    words = _ADDRESS.sub("", found["why"])
    layer = next((name for name, pattern in _LAYERS if pattern.search(words)), _OTHER)
    return f"{layer}: {found['name']}: {found['why']}"


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIO' else 'a'} {kind}"
