"""Whether a secrets bundle can be used here and today: the dates of its certificates, and whose bundle it is."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import mapping, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bootstrap.host.secret import Secret
    from inventory.model import Cluster
    from talos.bundle import Bundle

# The bundle's certificates; each is the root of what its part of the cluster trusts.
AUTHORITIES: Final = ("etcd", "k8s", "k8saggregator", "os")
_TIME: Final = "%Y-%m-%d %H:%M UTC"


def require_dates(secret: Secret, *, now: datetime, files: Iterable[Path]) -> None:
    """Refuse a bundle with a certificate that has expired or is not valid yet.

    Args:
        secret: the bundle.
        now: what the clock here says.
        files: of the repository; none of them can be younger than now, so they tell a clock that is behind.

    Raises:
        InputError: names each certificate with its dates, and whether it is the clock as far as that can be known.
    """
    problems = tuple(_outside(secret, now))
    if not problems:
        return
    newest = max((datetime.fromtimestamp(file.stat().st_mtime, UTC) for file in files if file.exists()), default=now)
    says = f"the clock here says {now:{_TIME}}, the repository's newest file is of {newest:{_TIME}}"
    if newest > now:
        cause, remedy = f"the clock here is behind: {says}", "set the clock of this machine, then run the command again"
    else:
        cause = f"{says}: if that is right, it is the certificates"
        remedy = "check the clock with `date -u`; expired authorities are renewed by `talosctl rotate-ca`"
    raise InputError(f"{secret.reference} holds certificates outside their dates", problems, cause=cause, remedy=remedy)


def _outside(secret: Secret, now: datetime) -> Iterator[Problem]:
    # cryptography takes 50 ms to import: only who looks at certificates pays for it.
    from cryptography.x509 import load_pem_x509_certificate  # as the line above says

    document = yaml_io.load(secret.reveal(), source="bundle")
    for name in AUTHORITIES:
        try:
            certificate = load_pem_x509_certificate(base64.b64decode(text(document, "certs", name, "crt")))
        except ValueError:
            yield Problem(f"`certs.{name}.crt` is not a certificate")
            continue
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begins <= now <= ends:
            said = "not valid yet" if now < begins else "expired"
            yield Problem(f"`certs.{name}.crt` is {said}: it is valid from {begins:{_TIME}} to {ends:{_TIME}}")


def require_own(bundle: Bundle, cluster: Cluster, state: Path) -> None:
    """Refuse a bundle that this computer knows as another cluster's.

    A bundle does not say whose it is. The private talosconfig that a run leaves holds the authority of its bundle; the
    journal's identity, which the engine guards, says the same of runs of this cluster.

    Args:
        bundle: of the cluster, as its store gave it.
        cluster: of the inventory.
        state: the cluster's private folder; those of other clusters lie beside it.

    Raises:
        InputError: another cluster's talosconfig holds its authority, or this cluster's holds another one.
    """
    for file in sorted(state.parent.glob("*/talosconfig")):
        authorities = _authorities(file)
        if file.parent.name != cluster.name and bundle.machine_authority in authorities:
            raise _anothers(bundle, f"{file} holds its authority: it is the bundle of {file.parent.name}")
        # A virtual cluster's lab makes another bundle every time.
        is_real = not cluster.virtual and not cluster.rehearsal
        if file.parent.name == cluster.name and is_real and authorities and bundle.machine_authority not in authorities:
            raise _anothers(bundle, f"{file} was made from a bundle with another authority")


def _anothers(bundle: Bundle, cause: str) -> InputError:
    return InputError(
        f"{bundle.secret.reference} is not the bundle of this cluster",
        cause=cause,
        remedy="correct `talosBundle` or what is stored there; a file that is outdated can be removed",
    )


def _authorities(file: Path) -> set[bytes]:
    document = yaml_io.load(file.read_bytes(), source=file.name)
    contexts = mapping(document, "contexts").values() if isinstance(document, dict) else ()
    return {base64.b64decode(text(one, "ca")) for one in contexts if isinstance(one, dict)}
