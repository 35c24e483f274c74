"""A cluster's secrets bundle: what `talosctl gen secrets` writes and everything else is derived from."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.yaml_io import Yaml
    from talos.client import Talosctl

# A key of 4096 bits takes one to five seconds of a processor, by luck; a starved machine has a tenth of one.
GENERATE_SECONDS: Final = 120.0
# Where the parts stand in the bundle (Talos' pkg/machinery/config/generate/secrets).
_MACHINE_AUTHORITY: Final = ("certs", "os", "crt")
_KUBERNETES_AUTHORITY: Final = ("certs", "k8s", "crt")
_KUBERNETES_KEY: Final = ("certs", "k8s", "key")
_CLUSTER_ID: Final = ("cluster", "id")
# Hexadecimal digits: clusters of one operator are told apart, and a line stays readable.
_IDENTITY_DIGITS: Final = 16
# Public parts: certificates, and the id under which nodes find each other.
_PUBLIC: Final = frozenset({"crt", "id"})


@dataclass(frozen=True)
class Bundle:
    """The parts of a secrets bundle that are used here.

    Attributes:
        secret: the whole of it, for talosctl.
        identity: tells clusters apart; a digest of the id under which nodes find each other, so no secret.
        machine_authority: PEM certificate of the Talos API's CA.
        kubernetes_authority: PEM certificate of the Kubernetes API's CA.
        kubernetes_key: PEM key of that CA.
        sensitive: every secret value in it, for the redactor; the bundle as a whole is not for it, because
            ordinary words of its keys would then be masked as well.
    """

    secret: Secret
    identity: str
    machine_authority: bytes
    kubernetes_authority: bytes
    kubernetes_key: Secret
    sensitive: tuple[Secret, ...]


def read(secret: Secret) -> Bundle:
    """Take a bundle apart.

    Raises:
        InputError: it is not one; names what is missing, never a value.
    """
    document = _document(secret)
    problems: list[Problem] = []
    parts = {path: _pem(document, path, problems) for path in (_MACHINE_AUTHORITY, _KUBERNETES_AUTHORITY)}
    key = _pem(document, _KUBERNETES_KEY, problems)
    cluster_id = _text(document, _CLUSTER_ID, problems)
    if problems:
        raise _refused(secret, tuple(problems))
    return Bundle(
        secret=secret,
        identity=hashlib.sha256(cluster_id.encode()).hexdigest()[:_IDENTITY_DIGITS],
        machine_authority=parts[_MACHINE_AUTHORITY],
        kubernetes_authority=parts[_KUBERNETES_AUTHORITY],
        kubernetes_key=Secret(key, f"{secret.reference} certs.k8s.key"),
        sensitive=tuple(_sensitive(document, secret.reference)),
    )


def generate(talosctl: Talosctl) -> Secret:
    """A new bundle for a new cluster, in memory.

    Raises:
        CommandError: talosctl failed.
    """
    # With --force talosctl writes over what is there, here the pipe that we read.
    result = talosctl.offline("gen", "secrets", "--output-file=/dev/stdout", "--force", timeout=GENERATE_SECONDS)
    return Secret(result.stdout, "a new secrets bundle")


def _document(secret: Secret) -> Yaml:
    try:
        document = yaml_io.load(secret.reveal(), source="bundle")
    except InputError as error:
        # The reader's own words may quote the text that it stumbled over.
        lines = ", ".join(f"line {problem.line}" for problem in error.problems if problem.line)
        raise _refused(secret, (Problem(f"it is not YAML{': ' + lines if lines else ''}"),)) from None
    if not isinstance(document, dict):
        raise _refused(secret, (Problem("it is not a mapping"),))
    return document


def _pem(document: Yaml, path: tuple[str, ...], problems: list[Problem]) -> bytes:
    found = _text(document, path, problems)
    if not found:
        return b""
    try:
        content = base64.b64decode(found, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content.startswith(b"-----BEGIN "):
        problems.append(Problem(f"`{'.'.join(path)}` is not a PEM text in base64"))
    return content


def _text(document: Yaml, path: tuple[str, ...], problems: list[Problem]) -> str:
    found = document
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, str) and found:
        return found
    problems.append(Problem(f"`{'.'.join(path)}` is missing"))
    return ""


def _sensitive(value: Yaml, reference: str, path: tuple[str, ...] = ()) -> Iterator[Secret]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _sensitive(inner, reference, (*path, key))
    elif isinstance(value, str) and value and path and path[-1] not in _PUBLIC:
        yield Secret(value, f"{reference} {'.'.join(path)}")


def _refused(secret: Secret, problems: tuple[Problem, ...]) -> InputError:
    return InputError(
        f"{secret.reference} holds no secrets bundle of Talos",
        problems,
        remedy="store there what `talosctl gen secrets` writes",
    )
