"""Turns secret references into secrets: `op` CLI, 1Password Connect, environment, file.

Everything is resolved once, before anything is touched, and kept in memory only.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from bootstrap.host.errors import FirstlightError, InputError, Problem
from bootstrap.host.secret import Secret
from inventory.model import SecretProvider, SecretReference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bootstrap.host.commands import CommandRunner
    from inventory.model import SecretSettings

__all__ = [
    "EnvironmentProvider",
    "FileProvider",
    "OpProvider",
    "Provider",
    "Resolved",
    "SecretReference",
    "Unresolvable",
    "providers",
    "resolve_all",
]

# The op CLI may start its daemon and ask the network; longer than this it is waiting for a person.
OP_SECONDS: Final = 30.0
# What op says of an item that its vault does not have.
_NO_ITEM: Final = "isn't an item"
# As the inventory has it; see `inventory.fields`, which takes long to import.
_CONNECT_URL: Final = re.compile(r"https?://[^\s/@]+/?")
# A secret larger than this is a mistake (a disk image, /dev/zero); a secrets bundle has 9 KiB.
LARGEST_FILE: Final = 1024 * 1024


class Unresolvable(FirstlightError):  # noqa: N818 # reads as what it says about a reference
    """One reference has no value; the fact names the reason and never a value.

    Args:
        fact: the reason.
        error_class: see `FirstlightError`.
        retry_after: see `FirstlightError`.
    """

    def __init__(self, fact: str, *, error_class: str = "", retry_after: float = 0.0) -> None:
        super().__init__(fact)
        self.error_class = error_class
        self.retry_after = retry_after


class Provider(Protocol):
    """Answers references of one scheme."""

    def read(self, reference: SecretReference) -> bytes:
        """The value as the store holds it.

        Raises:
            Unresolvable: it has none.
        """


@dataclass(frozen=True)
class Resolved:
    """What resolving gave.

    Attributes:
        secrets: by the reference's text; never empty, without trailing line breaks.
        notes: facts that a person should know, for example that a store is asked without TLS.
    """

    secrets: Mapping[str, Secret]
    notes: tuple[str, ...] = ()


class EnvironmentProvider:
    """`env://NAME`.

    Args:
        environment: names and values, usually `os.environ`.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def read(self, reference: SecretReference) -> bytes:
        """The variable's value; see `Provider.read`."""
        value = self._environment.get(reference.location)
        if value is None:
            raise Unresolvable(f"the environment variable {reference.location} is not set")
        return os.fsencode(value)


class FileProvider:
    """`file:///path`."""

    def read(self, reference: SecretReference) -> bytes:
        """The file's content; see `Provider.read`."""
        try:
            with Path(reference.location).open("rb") as file:
                # A device such as /dev/zero has no size and no end.
                content = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise Unresolvable(f"the file cannot be read: {error.strerror}") from None
        if len(content) > LARGEST_FILE:
            raise Unresolvable(f"the file is larger than {LARGEST_FILE} bytes")
        return content


class OpProvider:
    """`op://vault/item/field` by 1Password's command line program.

    Args:
        program: the `op` program.
        runner: starts it.
        environment: where the session or service account token of `op` is taken from.
    """

    def __init__(self, program: Path, runner: CommandRunner, environment: Mapping[str, str]) -> None:
        self._program = program
        self._runner = runner
        # op finds its session, its account and the desktop app through these.
        self._environment = {
            name: value
            for name, value in environment.items()
            if name.startswith("OP_") or name in {"XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"}
        }

    def read(self, reference: SecretReference) -> bytes:
        """What `op read` prints; see `Provider.read`."""
        return self._run("read", "--no-newline", str(reference))

    def holds(self, reference: SecretReference) -> bool:
        """Whether the item is there; see `Keeper.holds`.

        An item without the field counts as well: op takes a field for an existing item only as an argument, which
        every process could read, or together with all that the item holds.
        """
        vault, item, *_ = reference.location.split("/")
        try:
            self._run("item", "get", item, f"--vault={vault}", "--format=json")
        except Unresolvable as error:
            if _NO_ITEM in error.fact:
                return False
            raise
        return True

    def store(self, reference: SecretReference, secret: Secret) -> None:
        """Create the item with its field; see `Keeper.store`."""
        vault, item, *path = reference.location.split("/")
        field = {"id": path[-1], "label": path[-1], "type": "CONCEALED", "value": secret.reveal().decode()}
        template = json.dumps({"title": item, "category": "SECURE_NOTE", "fields": [field]})
        self._run("item", "create", f"--vault={vault}", "--format=json", "-", stdin=Secret(template, str(reference)))

    def _run(self, *arguments: str, stdin: Secret | None = None) -> bytes:
        # Importing the runner brings `sh`, which the command line's `--list` must not pay for.
        from bootstrap.host.commands import Command, CommandError  # as the line above says

        command = Command(self._program, arguments, environment=self._environment, stdin=stdin, timeout=OP_SECONDS)
        try:
            return self._runner.run(command).stdout
        except CommandError as error:
            words = " ".join(word for word in arguments[:2] if not word.startswith("-"))
            raise Unresolvable(f"op {words}: {error.cause}", error_class=error.error_class) from None


class _NoProvider:
    def __init__(self, why: str) -> None:
        self._why = why

    def read(self, reference: SecretReference) -> bytes:
        raise Unresolvable(f"nobody answers {reference.scheme}:// references: {self._why}")

    def holds(self, reference: SecretReference) -> bool:
        return bool(self.read(reference))

    def store(self, reference: SecretReference, _secret: Secret) -> None:
        self.read(reference)


def providers(
    settings: SecretSettings,
    *,
    environment: Mapping[str, str],
    runner: CommandRunner,
    op: Path | None = None,
    ca_file: Path | None = None,
) -> dict[str, Provider]:
    """The providers of a cluster by scheme.

    Args:
        settings: of the inventory; say who answers `op://`.
        environment: usually `os.environ`; 1Password Connect is asked with OP_CONNECT_HOST (else the
            inventory's URL) and OP_CONNECT_TOKEN.
        runner: starts the `op` program.
        op: the `op` program; None when it is not installed.
        ca_file: trusted instead of the system's CAs when 1Password Connect has TLS.
    """
    return {
        "env": EnvironmentProvider(environment),
        "file": FileProvider(),
        "op": _op_provider(settings, environment, runner, op, ca_file),
    }


def _op_provider(
    settings: SecretSettings,
    environment: Mapping[str, str],
    runner: CommandRunner,
    op: Path | None,
    ca_file: Path | None,
) -> Provider:
    if settings.provider is SecretProvider.OP:
        return OpProvider(op, runner, environment) if op else _NoProvider("the program `op` is not there")
    if settings.provider is SecretProvider.CONNECT:
        from inventory.connect import ConnectProvider  # http.client and ssl take 30 ms to import

        host = environment.get("OP_CONNECT_HOST") or settings.connect_host
        token = (environment.get("OP_CONNECT_TOKEN") or "").strip()
        missing = [name for name, value in (("OP_CONNECT_HOST", host), ("OP_CONNECT_TOKEN", token)) if not value]
        if missing:
            return _NoProvider(f"{' and '.join(missing)} is not set")
        if not _CONNECT_URL.fullmatch(host):
            # Not shown: a URL may hold a password.
            return _NoProvider("OP_CONNECT_HOST is not of the form https://NAME or http://NAME")
        return ConnectProvider(host, Secret(token, "env://OP_CONNECT_TOKEN"), ca_file=ca_file)
    return _NoProvider(f"the inventory's secret provider is {settings.provider.value}")


def _once(read: Callable[[], Secret]) -> Secret:
    return read()


def resolve_all(
    references: Iterable[SecretReference],
    answering: Mapping[str, Provider],
    *,
    persist: Callable[[Callable[[], Secret]], Secret] = _once,
) -> Resolved:
    """Resolve every reference, each once.

    Nothing is told to the redactor here: a structured secret such as a secrets bundle has its sensitive parts
    named by who knows its structure, or ordinary words of it would be masked everywhere.

    Args:
        references: in any order; the same one may stand several times.
        answering: providers by scheme, as `providers` made them.
        persist: calls what reads one secret, again where an error of its class is worth it.

    Raises:
        InputError: some have no value; names all of them with the reason, never a value.
    """
    secrets: dict[str, Secret] = {}
    problems: list[Problem] = []
    for reference in dict.fromkeys(references):
        try:
            secrets[reference.text] = persist(partial(_resolve, reference, answering))
        except Unresolvable as error:
            problems.append(Problem(f"{reference}: {error}"))
    if problems:
        count = len(problems)
        raise InputError(
            f"{count} secret{'s' if count > 1 else ''} cannot be resolved",
            tuple(problems),
            remedy="make the references of the inventory readable, then run the same command again",
        )
    notes = (getattr(provider, "note", "") for provider in answering.values())
    return Resolved(secrets, tuple(note for note in notes if note))


def _resolve(reference: SecretReference, answering: Mapping[str, Provider]) -> Secret:
    provider = answering.get(reference.scheme)
    if provider is None:
        raise Unresolvable("is not of the form op://vault/item/field, env://NAME or file:///path")
    # Editors and `echo` end a value with a line break that no consumer wants.
    value = provider.read(reference).rstrip(b"\r\n")
    if not value.strip():
        raise Unresolvable("the value is empty")
    return Secret(value, reference.text)
