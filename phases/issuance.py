"""The proof that cert-manager works: its webhook answers, and a test certificate is issued and vanishes."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Observation, StepRef
from bootstrap.engine.proof import Proof
from bootstrap.engine.step import Gate
from bootstrap.host.objects import text
from kube.cluster import NAMESPACE, SECRET, KindRef, reference
from kube.conditions import ready
from kube.webhooks import Webhook, converted_by_webhook
from phases.admission import await_webhook, unproven
from phases.belongings import Belongings
from phases.proofs import Proving, kind_of, proving_step
from phases.refs import API, CORE_RELEASES, EXTRACT

if TYPE_CHECKING:
    from bootstrap.engine import Context, Step
    from bootstrap.host.objects import Object
    from kube.cluster import Reading
    from phases.world import World

CERTIFICATES: Final[StepRef[None]] = StepRef("certificates")
CERT_MANAGER: Final = next(one for one in CORE_RELEASES if one.name == "cert-manager")
GROUP: Final = "cert-manager.io"
ISSUER: Final[KindRef] = ("cert-manager.io/v1", "Issuer")
CERTIFICATE: Final[KindRef] = ("cert-manager.io/v1", "Certificate")
# Seconds; a self-signed certificate takes one, and a controller that has just started a leader election before it.
ISSUED_SECONDS: Final = 120.0
_NAME: Final = "certificate"
_ISSUES: Final = "cert-manager issues a certificate"


def step(world: World) -> Step[str, None]:
    """The step `certificates`; skipped where the tree has no cert-manager."""
    return proving_step(world, proving(world))


def proving(world: World) -> Proving:
    """The proof of cert-manager."""
    return Proving(
        name=CERTIFICATES.name,
        title="Prove that certificates are issued",
        description="issue a certificate from a test Issuer and remove both",
        releases=(CERT_MANAGER,),
        prove=lambda ctx: _prove(world, ctx),
        needs=(EXTRACT.name,),
    )


def _prove(world: World, ctx: Context) -> tuple[Proof, ...]:
    api, kind = ctx.value(API).api, kind_of(world, (CERT_MANAGER,))
    if left_out := unproven(world, api, CERT_MANAGER, GROUP, _ISSUES):
        return left_out
    answers = await_webhook(ctx, api, CERT_MANAGER, webhook(ctx.value(EXTRACT)), kind)
    belongings = Belongings(api, CERTIFICATES.name, (NAMESPACE,))
    # A namespace of its own goes with all that was made in it, the Secret included.
    wanted = objects(f"firstlight-certificate-{secrets.token_hex(4)}", belongings.labels)
    with belongings.borrowed(ctx):
        with ctx.outside("request"):
            api.apply(wanted)
        issued = ctx.wait(
            Gate(
                description="cert-manager to issue the test Certificate",
                check=lambda _: _issued(api, *wanted[1:]),
                timeout=ISSUED_SECONDS,
            )
        )
    return answers, Proof(_ISSUES, f"{issued.seen}; all of it is gone again", kind)


def webhook(definitions: tuple[Object, ...]) -> Webhook:
    """cert-manager's webhook: an Issuer without a type fits its definition, and only the webhook refuses it."""
    name: Object = {"name": "firstlight-dry-run", "namespace": CERT_MANAGER.namespace}
    issuer: Object = {"apiVersion": ISSUER[0], "kind": ISSUER[1], "metadata": name}
    return Webhook(
        GROUP,
        accepted={**issuer, "spec": {"selfSigned": {}}},
        refused={**issuer, "spec": {}},
        converted=converted_by_webhook(definitions, GROUP),
    )


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
