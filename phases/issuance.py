"""The proof that cert-manager works: its webhook answers, and a test certificate is issued and vanishes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.engine import Observation, StepRef
from bootstrap.engine.step import Gate
from bootstrap.host.objects import text
from kube.cluster import NAMESPACE, SECRET, KindRef, reference
from kube.conditions import ready
from phases.operators import Operator, Trial, prove
from phases.proofs import Proving
from phases.refs import CORE_RELEASES, EXTRACT

if TYPE_CHECKING:
    from bootstrap.engine import Context
    from bootstrap.host.objects import Object
    from kube.cluster import Cluster, Reading
    from phases.world import World

CERTIFICATES: Final[StepRef[None]] = StepRef("certificates")
CERT_MANAGER: Final = next(one for one in CORE_RELEASES if one.name == "cert-manager")
ISSUER: Final[KindRef] = ("cert-manager.io/v1", "Issuer")
CERTIFICATE: Final[KindRef] = ("cert-manager.io/v1", "Certificate")
# Seconds; a self-signed certificate takes one, and a controller that has just started a leader election before it.
ISSUED_SECONDS: Final = 120.0
_NAME: Final = "certificate"
OPERATOR: Final = Operator(
    release=CERT_MANAGER,
    group="cert-manager.io",
    does="cert-manager issues a certificate",
    # An Issuer without a type fits its definition.
    judged=ISSUER,
    accepted={"selfSigned": {}},
    refused={},
)


def proving(world: World) -> Proving:
    """The proof of cert-manager, the step `certificates`."""
    return Proving(
        name=CERTIFICATES.name,
        title="Prove that certificates are issued",
        description="issue a certificate from a test Issuer and remove both",
        releases=(CERT_MANAGER,),
        # A namespace of its own goes with all that was made in it, the Secret included.
        prove=lambda ctx: prove(world, ctx, OPERATOR, lambda: Trial(CERTIFICATES.name, (NAMESPACE,), _issue)),
        needs=(EXTRACT.name,),
    )


def _issue(ctx: Context, api: Cluster, name: str, labels: Object) -> str:
    made = objects(name, labels)
    with ctx.outside("request"):
        api.apply(made)
    return ctx.wait(
        Gate(
            description="cert-manager to issue the test Certificate",
            check=lambda _: _issued(api, *made[1:]),
            timeout=ISSUED_SECONDS,
        )
    ).seen


def objects(namespace: str, labels: Object) -> list[Object]:
    """A namespace with a self-signed Issuer and a Certificate of it, in this order."""
    inside: Object = {"name": _NAME, "namespace": namespace}
    return [
        {"apiVersion": NAMESPACE[0], "kind": NAMESPACE[1], "metadata": {"name": namespace, "labels": labels}},
        {"apiVersion": ISSUER[0], "kind": ISSUER[1], "metadata": inside, "spec": {"selfSigned": {}}},
        {
            "apiVersion": CERTIFICATE[0],
            "kind": CERTIFICATE[1],
            "metadata": inside,
            "spec": {
                "secretName": _NAME,
                "dnsNames": ["firstlight.invalid"],
                "issuerRef": {"kind": ISSUER[1], "name": _NAME},
                # Made in no time on an emulated machine, where the default, RSA, takes seconds.
                "privateKey": {"algorithm": "ECDSA"},
            },
        },
    ]


def _issued(api: Reading, issuer: Object, certificate: Object) -> Observation[None]:
    """Whether the Certificate is Ready and its Secret is there; else the first of the chain that is not."""
    look = ready(api, reference(issuer))
    if not look.holds:
        return Observation(look.holds, look.seen)
    name = reference(certificate)
    look = ready(api, name)
    if not look.holds:
        return Observation(look.holds, look.seen)
    secret = api.get(SECRET, text(certificate, "spec", "secretName"), name.namespace)
    lacking = [key for key in ("tls.crt", "tls.key") if not text(secret, "data", key)]
    if lacking:
        return Observation(holds=False, seen=f"{look.seen}; its Secret has no {' and no '.join(lacking)}")
    return Observation(holds=True, seen=f"{look.seen}; its Secret holds certificate and key")
