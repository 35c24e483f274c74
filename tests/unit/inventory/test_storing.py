"""Secrets put where nothing lies: by 1Password Connect against the lab's own server, and by the op program."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import Command, CommandError, Result
from bootstrap.host.errors import ExitCode, InputError
from bootstrap.host.secret import Secret
from inventory.connect import ConnectProvider
from inventory.model import SecretProvider, SecretReference, SecretSettings
from inventory.secrets import OpProvider, Unresolvable, providers
from inventory.storing import Keeper, StoreError, require_free, store
from rehearsal.vault import Vault
from rehearsal.web import serve, serve_connect
from tests.unit.rehearsal.bench import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "the-token-of-this-lab"
BUNDLE = SecretReference("op://infra/talos-infra/bundle")
SECRET = Secret("cluster:\n    id: planted\n", "made")


@pytest.fixture
def vault() -> Vault:
    return Vault("infra")


@pytest.fixture
def connect(vault: Vault) -> Keeper:
    port = free_port()
    serve("127.0.0.1", port, serve_connect(vault, lambda: TOKEN))
    return ConnectProvider(f"http://127.0.0.1:{port}", Secret(TOKEN, "token"))


def test_connect_makes_the_item(vault: Vault, connect: Keeper) -> None:
    store(BUNDLE, SECRET, require_free(BUNDLE, connect))
    assert vault.field("talos-infra", "bundle") == "cluster:\n    id: planted\n"


def test_connect_adds_the_field_to_an_item(vault: Vault, connect: Keeper) -> None:
    vault.put("talos-infra", {"note": "kept"})
    store(BUNDLE, SECRET, require_free(BUNDLE, connect))
    assert vault.field("talos-infra", "bundle") == "cluster:\n    id: planted\n"
    assert vault.field("talos-infra", "note") == "kept"


def test_connect_fills_an_empty_field(vault: Vault, connect: Keeper) -> None:
    vault.put("talos-infra", {"bundle": ""})
    store(BUNDLE, SECRET, require_free(BUNDLE, connect))
    assert vault.field("talos-infra", "bundle").endswith("planted\n")


def test_a_value_that_is_there_is_never_replaced(vault: Vault, connect: Keeper) -> None:
    vault.put("talos-infra", {"bundle": "the first"})
    with pytest.raises(InputError, match="holds a value, which is never replaced") as caught:
        require_free(BUNDLE, connect)
    assert caught.value.exit_code is ExitCode.INVALID
    with pytest.raises(StoreError, match="it holds a value, which is not replaced"):
        store(BUNDLE, SECRET, connect)
    assert vault.field("talos-infra", "bundle") == "the first"


def test_a_vault_that_is_not_there_is_told_before_anything_is_made(connect: Keeper) -> None:
    with pytest.raises(InputError, match="cannot be looked at: there is no vault `apps`"):
        require_free(SecretReference("op://apps/talos-apps/bundle"), connect)


def test_a_section_is_refused(vault: Vault, connect: Keeper) -> None:
    with pytest.raises(StoreError, match="a field inside a section is not stored"):
        store(SecretReference("op://infra/talos-infra/part/bundle"), SECRET, connect)
    assert vault.overviews("") == []


@dataclass
class Forgetful:
    """A store that gives something else back."""

    def read(self, _reference: SecretReference) -> bytes:
        return b"something else"

    def holds(self, _reference: SecretReference) -> bool:
        return False

    def store(self, _reference: SecretReference, _secret: Secret) -> None:
        pass


def test_what_comes_back_is_compared() -> None:
    with pytest.raises(StoreError, match="gives back something else than was stored") as caught:
        store(BUNDLE, SECRET, require_free(BUNDLE, Forgetful()))
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["env", "file"])
def test_environment_and_files_cannot_store(scheme: str) -> None:
    settings = SecretSettings(SecretProvider.ENV, "", BUNDLE, BUNDLE)
    answering = providers(settings, environment={}, runner=Op())
    with pytest.raises(InputError, match="can be read and not stored"):
        require_free(SecretReference(f"{scheme}:///somewhere"), answering[scheme])


def test_a_missing_token_is_the_reason(tmp_path: Path) -> None:
    settings = SecretSettings(SecretProvider.CONNECT, f"http://{tmp_path.name}", BUNDLE, BUNDLE)
    answering = providers(settings, environment={}, runner=Op())
    with pytest.raises(InputError, match="OP_CONNECT_TOKEN is not set"):
        require_free(BUNDLE, answering["op"])


@dataclass
class Op:
    """The op program as far as it makes and reads items."""

    items: dict[str, Mapping[str, str]] = field(default_factory=dict)
    asked: list[Command] = field(default_factory=list)

    def run(self, command: Command) -> Result:
        self.asked.append(command)
        words = [word for word in command.arguments if isinstance(word, str)]
        if words[:2] == ["item", "create"]:
            assert isinstance(command.stdin, Secret)
            template = json.loads(command.stdin.reveal())
            self.items[template["title"]] = {each["label"]: each["value"] for each in template["fields"]}
            return Result(0, b"{}", b"", 0.1)
        if words[0] == "read":
            *_, item, name = words[-1].split("/")
            return Result(0, self.items[item][name].encode(), b"", 0.1)
        if words[2] in self.items:
            return Result(0, b"{}", b"", 0.1)
        said = f'"{words[2]}" isn\'t an item in the "infra" vault.' if words[3] == "--vault=infra" else "not signed in"
        raise CommandError("failed", cause=said, exit_code_seen=1)


def test_op_gets_the_secret_through_its_standard_input() -> None:
    runner = Op()
    op = OpProvider(Path("/bin/op"), runner, {})
    store(BUNDLE, SECRET, require_free(BUNDLE, op))
    assert runner.items == {"talos-infra": {"bundle": "cluster:\n    id: planted\n"}}
    assert not any("planted" in str(word) for command in runner.asked for word in command.arguments)


def test_op_leaves_an_item_alone_that_is_there() -> None:
    runner = Op({"talos-infra": {"note": "kept"}})
    with pytest.raises(InputError, match="never replaced"):
        require_free(BUNDLE, OpProvider(Path("/bin/op"), runner, {}))


def test_op_that_is_locked_is_no_free_place() -> None:
    op = OpProvider(Path("/bin/op"), Op(), {})
    with pytest.raises(InputError, match="not signed in"):
        require_free(SecretReference("op://apps/talos-apps/bundle"), op)
    with pytest.raises(Unresolvable):
        op.holds(SecretReference("op://apps/talos-apps/bundle"))
