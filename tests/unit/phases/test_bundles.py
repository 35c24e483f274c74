"""The command that makes a secrets bundle: once, into the store, and nowhere else."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.configuration import resolve
from bootstrap.host.errors import InputError
from bootstrap.host.secret import Secret
from bootstrap.host.settings import CACHE
from inventory.loader import load
from inventory.model import SecretReference
from phases.bundles import create
from rehearsal.vault import Vault
from rehearsal.web import serve, serve_connect
from talos import bundle
from tests.conftest import ROOT
from tests.unit.rehearsal.bench import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INFRA = load(ROOT, "infra")


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Vault:
    made, port = Vault("infra"), free_port()
    serve("127.0.0.1", port, serve_connect(made, lambda: "the-token"))
    monkeypatch.setenv("OP_CONNECT_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OP_CONNECT_TOKEN", "the-token")
    return made


def test_a_bundle_is_made_once(
    vault: Vault, programs: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    programs("talosctl")
    cache = resolve({}, os.environ)[CACHE]
    create(ROOT, cache, INFRA)
    stored = vault.field("talos-infra", "bundle")
    made = bundle.read(Secret(stored, "stored"))
    said = capfd.readouterr()
    assert said.out == ""
    assert f"stored as op://infra/talos-infra/bundle; Talos cluster id {made.identity}" in said.err
    assert not any(secret.reveal().decode() in said.err for secret in made.sensitive)
    with pytest.raises(InputError, match="never replaced"):
        create(ROOT, cache, INFRA)
    assert vault.field("talos-infra", "bundle") == stored


def test_a_file_is_not_written(tmp_path: Path) -> None:
    reference = SecretReference(f"file://{tmp_path}/bundle")
    cluster = replace(INFRA, secrets=replace(INFRA.secrets, talos_bundle=reference))
    with pytest.raises(InputError, match="can be read and not stored"):
        create(ROOT, tmp_path, cluster)
    assert list(tmp_path.iterdir()) == []
