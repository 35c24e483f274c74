"""`bootstrap/resources.yaml`: what must exist before the first release, with references in place of secrets."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.names import nearest
from bootstrap.host.objects import Object, mapping, name_of, text
from gitops import origins

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from bootstrap.host.secret import Secret
    from inventory.model import SecretReference, SecretSettings

RESOURCES: Final = "bootstrap/resources.yaml"
# A value of a Secret that names a secret of the inventory by its purpose.
NAMED: Final = "secret://"
_FOLDER: Final = RESOURCES.rpartition("/")[0]


def load_resources(root: Path) -> list[Object]:
    """The objects of the file, references unresolved.

    Raises:
        InputError: not YAML, no object, one without kind or name, or a Secret that holds anything but references.
    """
    found: list[Object] = []
    problems: list[Problem] = []
    for index, document in enumerate(yaml_io.load_file(root / RESOURCES, root=root)):
        if not isinstance(document, dict) or not text(document, "kind") or not name_of(document):
            content = (root / RESOURCES).read_bytes()
            place = yaml_io.positions(content, source=RESOURCES, document=index)[()]
            problems.append(Problem("an object without kind or name", RESOURCES, place.line, place.column))
            continue
        found.append(document)
        if text(document, "kind") == "Secret":
            problems += _plain_values(root, document)
    if not found and not problems:
        problems.append(Problem("it holds no object; core releases want their namespaces", RESOURCES))
    if problems:
        raise InputError(f"{RESOURCES} is not usable", tuple(problems))
    return found


def purposes(settings: SecretSettings) -> dict[str, SecretReference]:
    """The secrets of an inventory by the names that the file uses."""
    return {"connect-token": settings.connect_token}


def unknown_references(root: Path, objects: list[Object], known: Collection[str]) -> tuple[Problem, ...]:
    """The references of Secrets that name no secret of the inventory, each with its place.

    Args:
        root: the repository.
        objects: as `load_resources` gave them.
        known: the inventory's secrets by purpose.
    """
    return tuple(
        origins.problem(
            f"Secret {name_of(item)}: {reference} is no secret of the inventory; "
            f"{nearest(str(reference), [NAMED + name for name in known], prefix=NAMED)}",
            root=root, folder=_FOLDER, item=item, at=("stringData", key),
        )
        for item in objects
        for key, reference in mapping(item, "stringData").items()
        if text(item, "kind") == "Secret" and str(reference).removeprefix(NAMED) not in known
    )  # fmt: skip


def resolve(root: Path, objects: list[Object], named: Mapping[str, Secret]) -> list[Object]:
    """The objects with the values of their Secrets filled in, in memory.

    Args:
        root: the repository.
        objects: as `load_resources` gave them.
        named: the inventory's secrets by purpose.

    Raises:
        InputError: references name no secret of the inventory; all of them at once.
    """
    problems = unknown_references(root, objects, named.keys())
    if problems:
        raise InputError(f"{RESOURCES} is not usable", problems)
    return [_filled(item, named) if text(item, "kind") == "Secret" else item for item in objects]


def _filled(item: Object, named: Mapping[str, Secret]) -> Object:
    data: Object = {
        key: base64.b64encode(named[str(reference).removeprefix(NAMED)].reveal()).decode()
        for key, reference in mapping(item, "stringData").items()
    }
    return {**{key: value for key, value in item.items() if key != "stringData"}, "data": data}


def _plain_values(root: Path, item: Object) -> list[Problem]:
    return [
        origins.problem(
            f"Secret {name_of(item)}: the value of {key} is no reference ({NAMED}<name>)",
            root=root, folder=_FOLDER, item=item, at=(place, key),
        )
        for place in ("stringData", "data")
        for key, value in mapping(item, place).items()
        if not str(value).startswith(NAMED)
    ]  # fmt: skip
