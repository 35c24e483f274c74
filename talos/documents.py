"""A machine configuration as documents, and findings about it with the place in the patches that they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from bootstrap.host import yaml_io
from bootstrap.host.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bootstrap.host.secret import Secret

Where: TypeAlias = "tuple[str | int, ...]"


@dataclass(frozen=True)
class Configuration:
    """What Talos reads.

    Attributes:
        main: the document with `machine` and `cluster`.
        others: the documents that have a kind, for example EthernetConfig.
    """

    main: dict[str, Any]
    others: tuple[dict[str, Any], ...]

    def at(self, *path: str) -> Any:
        """What stands at a path of the main document; None where nothing does."""
        value: Any = self.main
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def kind(self, kind: str) -> tuple[dict[str, Any], ...]:
        """The documents of a kind."""
        return tuple(each for each in self.others if each["kind"] == kind)

    @property
    def interfaces(self) -> list[dict[str, Any]]:
        """`machine.network.interfaces`."""
        return self.at("machine", "network", "interfaces") or []


@dataclass(frozen=True)
class Finding:
    """Something wrong with a configuration.

    Attributes:
        text: what is wrong and, where there is one, what was wanted.
        where: keys and indices that lead to it, from the document down.
        remedy: what to change; empty where the text says it.
        document: `kind/name` of the document; empty for the main one.
    """

    text: str
    where: Where
    remedy: str = ""
    document: str = ""


def parse(config: Secret) -> Configuration:
    """The documents of a rendered configuration.

    Raises:
        InputError: it is not YAML.
    """
    found = [each for each in yaml_io.load_all(config.reveal(), source=config.reference) if isinstance(each, dict)]
    main: dict[str, Any] = next((each for each in found if "kind" not in each), {})
    return Configuration(main, tuple(each for each in found if "kind" in each))


def locate(findings: Sequence[Finding], patches: Sequence[Path], root: Path) -> tuple[Problem, ...]:
    """The findings as problems, each with its place in the patches.

    The place is that of the longest beginning of a finding's path that a patch has; the later patch counts, because
    it is applied over the earlier ones. What stands nowhere is missing, and its file is the last one.
    """
    places = [_places(file, root) for file in patches]
    return tuple(_problem(finding, places) for finding in findings)


@dataclass(frozen=True)
class _Places:
    source: str
    documents: dict[str, dict[Where, yaml_io.Position]]


def _places(file: Path, root: Path) -> _Places:
    source = source_of(file, root)
    text = file.read_bytes()
    documents = {
        _name(document): yaml_io.positions(text, source=source, document=index)
        for index, document in enumerate(yaml_io.load_all(text, source=source))
    }
    return _Places(source, documents)


def _name(document: yaml_io.Yaml) -> str:
    if isinstance(document, dict) and "kind" in document:
        return f"{document['kind']}/{document.get('name', '')}"
    return ""


def _problem(finding: Finding, places: Sequence[_Places]) -> Problem:
    for length in range(len(finding.where), 0, -1):
        for file in reversed(places):
            place = file.documents.get(finding.document, {}).get(finding.where[:length])
            if place:
                return Problem(finding.text, file.source, place.line, place.column, finding.remedy)
    return Problem(finding.text, places[-1].source, remedy=finding.remedy)


def source_of(file: Path, root: Path) -> str:
    """A file's name for messages: relative to the repository where it is in it."""
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)
