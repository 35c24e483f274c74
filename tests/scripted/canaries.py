"""Secrets that are planted, and the search for them."""

from __future__ import annotations

import base64
import json
import secrets
import shlex
from typing import TYPE_CHECKING
from urllib.parse import quote

from bootstrap.host import yaml_io
from bootstrap.host.secret import Secret
from talos import bundle
from tests.api import pki

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bootstrap.host.yaml_io import Yaml

# A search for fewer characters finds ordinary words.
_ENDS = 12


def write_store(folder: Path) -> None:
    """A secrets bundle and a token, as the store of a cluster holds them."""
    folder.mkdir(parents=True)
    (folder / "bundle.yaml").write_text(new_bundle())
    (folder / "token").write_text(f"{secrets.token_urlsafe(40)}\n")


def canaries(folder: Path) -> dict[str, str]:
    """Every form in which a secret of a store could leak, with the secret's name."""
    kept = bundle.read(Secret((folder / "bundle.yaml").read_bytes(), "bundle"))
    token = Secret((folder / "token").read_bytes().strip(), "token")
    found: dict[str, str] = {}
    for secret in (*kept.sensitive, token):
        value = secret.reveal().decode()
        for form in _forms(value):
            found[form] = secret.reference
    return found


def leaks(folder: Path, needles: dict[str, str], but: Iterable[Path]) -> list[str]:
    """Files below a folder that hold a planted secret."""
    found: list[str] = []
    left_out = set(but)
    for file in sorted(folder.rglob("*")):
        if file.is_symlink() or not file.is_file() or left_out & {file, *file.parents}:
            continue
        content = file.read_text(errors="replace")
        found += [f"{file.relative_to(folder)}: {name}" for needle, name in needles.items() if needle in content]
    return found


def new_bundle() -> str:
    """What `talosctl gen secrets` writes, as far as it is read."""
    authority = pki.issue("kubernetes")
    kubernetes: Yaml = {"crt": _encoded(authority.certificate_pem), "key": _encoded(authority.key_pem)}
    other: dict[str, Yaml] = {
        name: {"crt": _encoded(pki.issue(name).certificate_pem), "key": _key()}
        for name in ("etcd", "k8saggregator", "os")
    }
    return yaml_io.dump({
        "cluster": {"id": secrets.token_urlsafe(32), "secret": secrets.token_urlsafe(32)},
        "secrets": {
            "bootstraptoken": f"{secrets.token_hex(3)}.{secrets.token_hex(8)}",
            "secretboxencryptionsecret": secrets.token_urlsafe(32),
        },
        "trustdinfo": {"token": f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"},
        "certs": {**other, "k8s": kubernetes, "k8sserviceaccount": {"key": _key()}},
    })  # fmt: skip


def _key() -> str:
    return _encoded(_pem("PRIVATE KEY"))


def _pem(kind: str) -> bytes:
    """Nothing in this world reads it; it only must look like a PEM text and be one of its kind."""
    body = "\n".join(secrets.token_urlsafe(48) for _ in range(3))
    return f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n".encode()


def _forms(value: str) -> set[str]:
    raw = value.encode()
    forms = {value, base64.b64encode(raw).decode(), quote(value, safe=""), json.dumps(value)[1:-1], shlex.quote(value)}
    if value.startswith("LS0t"):
        # What a PEM text begins and ends with is no secret; its lines are.
        lines = base64.b64decode(value).decode().splitlines()[1:-1]
        return forms | set(lines) | {line[:_ENDS] for line in lines[:1]} | {line[-_ENDS:] for line in lines[-1:]}
    return forms | {value[:_ENDS], value[-_ENDS:]}


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
