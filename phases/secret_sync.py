"""The proof that External Secrets works: its webhook answers, and one value comes out of 1Password Connect unchanged.

The value is the Connect token itself. It lies in the same namespace already, so that the proof shows nobody anything
that is not there without it, and every cluster has it.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Observation, StepRef
from bootstrap.engine.step import Gate
from bootstrap.host.errors import FirstlightError
from bootstrap.host.objects import mapping, name_of, text
from bootstrap.host.secret import Secret
from kube.cluster import SECRET, KindRef, ObjectRef, reference
from kube.conditions import ready
from phases import sources
from phases.operators import Operator, Trial, prove
from phases.proofs import Proving
from phases.refs import CORE_RELEASES, EXTRACT, SECRETS
from phases.resources import NAMED, load_resources

if TYPE_CHECKING:
    from bootstrap.engine import Context
    from bootstrap.host.objects import Object
    from kube.cluster import Cluster, Reading
    from phases.world import World

SECRET_SYNC: Final[StepRef[None]] = StepRef("secret-sync")
EXTERNAL_SECRETS: Final = next(one for one in CORE_RELEASES if one.name == "external-secrets")
SECRET_STORE: Final[KindRef] = ("external-secrets.io/v1", "SecretStore")
EXTERNAL_SECRET: Final[KindRef] = ("external-secrets.io/v1", "ExternalSecret")
# The purpose under which inventory and bootstrap/resources.yaml name the token.
TOKEN: Final = "connect-token"  # noqa: S105 # a name, not the token
# Seconds; Connect answers at once, the controller tries a store again after some seconds and ever later.
SYNCED_SECONDS: Final = 120.0
_KEY: Final = "value"
_ASKS_NOTHING: Final[Object] = {"secretStoreRef": {"kind": SECRET_STORE[1], "name": "firstlight-dry-run"}}
OPERATOR: Final = Operator(
    release=EXTERNAL_SECRETS,
    group="external-secrets.io",
    does="external-secrets syncs a value from 1Password Connect",
    # An ExternalSecret that asks for nothing fits its definition.
    judged=EXTERNAL_SECRET,
    accepted={**_ASKS_NOTHING, "data": [{"secretKey": _KEY, "remoteRef": {"key": "x"}}]},
    refused=_ASKS_NOTHING,
)


@dataclass(frozen=True)
class Source:
    """Where the value is in 1Password, and how the cluster reaches it.

    Attributes:
        host: URL of Connect as pods reach it.
        vault: the vault's name or id.
        item: the item's title.
        field: the field's label.
        token: the Secret with the token.
        key: of the token in it.
    """

    host: str
    vault: str
    item: str
    field: str
    token: ObjectRef
    key: str


def proving(world: World) -> Proving:
    """The proof of External Secrets, the step `secret-sync`."""
    return Proving(
        name=SECRET_SYNC.name,
        title="Prove that secrets come out of 1Password",
        description="sync one value from 1Password Connect by a test SecretStore and remove it",
        releases=(EXTERNAL_SECRETS,),
        prove=lambda ctx: prove(world, ctx, OPERATOR, lambda: _trial(world)),
        needs=(EXTRACT.name, SECRETS.name),
        inputs=sources.RESOURCES,
    )


def _trial(world: World) -> Trial | str:
    """What External Secrets is asked for; a text when it cannot get at it, which says why.

    Raises:
        InputError: `bootstrap/resources.yaml` is not usable.
    """
    source = source_of(world)
    if isinstance(source, str):
        return source
    # The store may read a Secret of its own namespace only, so both are made where the token is.
    kinds = (EXTERNAL_SECRET, SECRET, SECRET_STORE)
    return Trial(SECRET_SYNC.name, kinds, partial(_sync, source), source.token.namespace)


def _sync(source: Source, ctx: Context, api: Cluster, name: str, labels: Object) -> str:
    """Let the value be synced, and see that it is the one that our own provider reads."""
    store, wanted = objects(source, name, labels)
    # One that is made while its store is not ready may stay empty (external-secrets#2035).
    for item in (store, wanted):
        with ctx.outside("request"):
            api.apply([item])
        _await_ready(ctx, api, reference(item))
    with ctx.outside("request"):
        synced = _value(api, wanted)
    _refuse_other(ctx.value(SECRETS).named[TOKEN], synced)
    where = f"op://{source.vault}/{source.item}/{source.field}"
    return f"{where} came through {source.host} as our own provider reads it, by keyed digest"


def source_of(world: World) -> Source | str:
    """Where the token's value is; a text when External Secrets cannot get at it, which says why.

    Raises:
        InputError: `bootstrap/resources.yaml` is not usable.
    """
    settings = world.cluster.secrets
    if settings.connect_token.scheme != "op":
        return f"the token comes from {settings.connect_token}, which 1Password Connect does not serve"
    if not settings.connect_host:
        return f"{world.cluster.source} names no host of 1Password Connect"
    vault, item, *path = settings.connect_token.location.split("/")
    for each in load_resources(world.root):
        for key, value in mapping(each, "stringData").items():
            if value == f"{NAMED}{TOKEN}":
                # External Secrets finds a field by its label alone, whichever section it is in.
                return Source(settings.connect_host, vault, item, path[-1], reference(each), key)
    return "bootstrap/resources.yaml writes no Secret with the token"


def objects(source: Source, name: str, labels: Object) -> tuple[Object, Object]:
    """A SecretStore for the vault, and an ExternalSecret that reads the field into a Secret of the same name."""
    metadata: Object = {"name": name, "namespace": source.token.namespace, "labels": labels}
    token: Object = {"name": source.token.name, "key": source.key}
    provider: Object = {
        "connectHost": source.host,
        "vaults": {source.vault: 1},
        "auth": {"secretRef": {"connectTokenSecretRef": token}},
    }
    store: Object = {
        "apiVersion": SECRET_STORE[0], "kind": SECRET_STORE[1], "metadata": metadata,
        "spec": {"provider": {"onepassword": provider}},
    }  # fmt: skip
    remote: Object = {"key": source.item, "property": source.field}
    wanted: Object = {
        "apiVersion": EXTERNAL_SECRET[0], "kind": EXTERNAL_SECRET[1], "metadata": metadata,
        "spec": {
            "secretStoreRef": {"kind": SECRET_STORE[1], "name": name},
            "refreshPolicy": "CreatedOnce",
            "data": [{"secretKey": _KEY, "remoteRef": remote}],
        },
    }  # fmt: skip
    return store, wanted


def _await_ready(ctx: Context, api: Reading, name: ObjectRef) -> None:
    def check(_: Context) -> Observation[None]:
        look = ready(api, name)
        return Observation(look.holds, look.seen)

    ctx.wait(Gate(description=f"the test {name.kind} to be ready", check=check, timeout=SYNCED_SECONDS))


def _value(api: Reading, wanted: Object) -> Secret:
    """What External Secrets wrote, without the line breaks that our own provider takes off as well."""
    name = ObjectRef(*SECRET, reference(wanted).namespace, name_of(wanted))
    encoded = text(api.get(SECRET, name.name, name.namespace), "data", _KEY)
    try:
        value = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        value = b""
    return Secret(value.rstrip(b"\r\n"), str(name))


def _refuse_other(ours: Secret, synced: Secret) -> None:
    """End here when External Secrets brought another value than our own provider.

    Raises:
        FirstlightError: with digests by a key that nobody else has.
    """
    key = secrets.token_bytes(32)
    if ours.digest(key) != synced.digest(key):
        raise FirstlightError(
            "External Secrets brought another value than our own provider reads",
            cause=f"keyed digests: {ours.reference} {ours.digest(key)}, {synced.reference} {synced.digest(key)}",
            remedy="compare the vaults that the token of the cluster and our own token may read",
        )
