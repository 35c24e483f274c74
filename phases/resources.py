"""`bootstrap/resources.yaml`: what must exist before the first release, with references in place of secrets."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import Object, mapping, name_of, text
from bootstrap.host.yaml_io import load_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bootstrap.host.secret import Secret

RESOURCES: Final = "bootstrap/resources.yaml"
# A value of a Secret that names a secret of the inventory by its purpose.
NAMED: Final = "secret://"


def load_resources(root: Path) -> list[Object]:
    """The objects of the file, references unresolved.

    Raises:
        InputError: not YAML, an object without kind or name, or a Secret that holds something else than references.
    """
    found: list[Object] = []
    problems: list[Problem] = []
    for document in load_file(root / RESOURCES, root=root):
        if not isinstance(document, dict) or not text(document, "kind") or not name_of(document):
            problems.append(Problem("an object without kind or name", RESOURCES))
            continue
        found.append(document)
        if text(document, "kind") == "Secret":
            problems += _plain_values(document)
    if problems:
        raise InputError(f"{RESOURCES} is not usable", tuple(problems))
    return found


def resolve(objects: list[Object], named: Mapping[str, Secret]) -> list[Object]:
    """The objects with the values of their Secrets filled in, in memory.

    Args:
        objects: as `load_resources` gave them.
        named: the inventory's secrets by purpose.

    Raises:
        InputError: a reference names no secret of the inventory.
    """
    return [_filled(item, named) if text(item, "kind") == "Secret" else item for item in objects]


def _filled(item: Object, named: Mapping[str, Secret]) -> Object:
    data: Object = {}
    for key, reference in mapping(item, "stringData").items():
        secret = named.get(str(reference).removeprefix(NAMED))
        if secret is None:
            text_ = f"Secret {name_of(item)}: {reference} is no secret of the inventory"
            raise InputError(f"{RESOURCES} is not usable", (Problem(text_, RESOURCES),))
        data[key] = base64.b64encode(secret.reveal()).decode()
    return {**{key: value for key, value in item.items() if key != "stringData"}, "data": data}


def _plain_values(item: Object) -> list[Problem]:
    values = [*mapping(item, "stringData").items(), *mapping(item, "data").items()]
    return [
        Problem(f"Secret {name_of(item)}: the value of {key} is no reference ({NAMED}<name>)", RESOURCES)
        for key, value in values
        if not str(value).startswith(NAMED)
    ]
