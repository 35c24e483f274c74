"""Kubelets' requests for serving certificates, held against the names and addresses that nodes are known to have.

Kubernetes approves them by itself nowhere: the signer takes what a person or a controller approved, so whoever
approves is the only check (kubernetes.io/docs, Certificates and Certificate Signing Requests, `kubelet-serving`).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import Object, mapping, objects, sequence, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.x509 import CertificateSigningRequest

    from kube.cluster import KindRef, Reading

REQUEST: Final[KindRef] = ("certificates.k8s.io/v1", "CertificateSigningRequest")
SIGNER: Final = "kubernetes.io/kubelet-serving"
APPROVED: Final = "Approved"
_USER: Final = "system:node:"
_GROUP: Final = "system:nodes"
_USAGES: Final = frozenset({"digital signature", "key encipherment", "server auth"})


def requests(api: Reading) -> dict[str, list[Object]]:
    """The requests of kubelets, by the node that they say they are."""
    found: dict[str, list[Object]] = {}
    for item in api.list_objects(REQUEST):
        user = text(item, "spec", "username")
        if text(item, "spec", "signerName") == SIGNER and user.startswith(_USER):
            found.setdefault(user.removeprefix(_USER), []).append(item)
    return found


def conditions(item: Object) -> frozenset[str]:
    """What was decided about a request: `Approved`, `Denied`, `Failed`; nothing while it is pending."""
    return frozenset(text(each, "type") for each in objects(item, "status", "conditions"))


def objections(item: Object, node: str, addresses: frozenset[str]) -> tuple[str, ...]:
    """Everything that speaks against approving a request of a node.

    Args:
        item: the request.
        node: its name.
        addresses: those that its certificate may hold.
    """
    return tuple(_objections(item, node, addresses))


def _objections(item: Object, node: str, addresses: frozenset[str]) -> Iterator[str]:
    if _GROUP not in sequence(item, "spec", "groups"):
        yield f"it was not made by a member of {_GROUP}"
    usages = {str(usage) for usage in sequence(item, "spec", "usages")}
    if "server auth" not in usages or not usages <= _USAGES:
        yield f"it asks for the usages {', '.join(sorted(usages)) or 'none'}"
    request = _read(text(item, "spec", "request"))
    if request is None:
        yield "it holds no certificate request"
        return
    yield from _subject(request, node)
    yield from _names(request, node, addresses)


def _read(encoded: str) -> CertificateSigningRequest | None:
    from cryptography import x509  # takes 50 ms, and few clusters have such kubelets

    try:
        return x509.load_pem_x509_csr(base64.b64decode(encoded))
    except ValueError:
        return None


def _subject(request: CertificateSigningRequest, node: str) -> Iterator[str]:
    found = request.subject.rfc4514_string()
    if found not in {f"CN={_USER}{node},O={_GROUP}", f"O={_GROUP},CN={_USER}{node}"}:
        yield f"its subject is {found}"


def _names(request: CertificateSigningRequest, node: str, addresses: frozenset[str]) -> Iterator[str]:
    from cryptography import x509  # late, as in _read

    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        yield "it names neither host nor address"
        return
    for name in names:
        if isinstance(name, x509.DNSName):
            is_known = name.value == node
        else:
            is_known = isinstance(name, x509.IPAddress) and str(name.value) in addresses
        if not is_known:
            yield f"it asks for {name.value}"


def approved(item: Object, *, message: str) -> Object:
    """The request as whoever approves it writes it."""
    condition: Object = {"type": APPROVED, "status": "True", "reason": "KnownNode", "message": message}
    decided = [*sequence(item, "status", "conditions"), condition]
    return {**item, "status": {**mapping(item, "status"), "conditions": decided}}
