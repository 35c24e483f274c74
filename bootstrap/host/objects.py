"""Reading values out of JSON-like objects whose shape nobody has promised."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from bootstrap.host.yaml_io import Yaml

Object: TypeAlias = "dict[str, Yaml]"


def dig(value: Yaml, *path: str | int) -> Yaml:
    """The value at a path of keys and indices; None where the path ends early."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def text(value: Yaml, *path: str | int) -> str:
    """The text at a path; empty when there is none, numbers and booleans as YAML writes them."""
    found = dig(value, *path)
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found) if isinstance(found, str | int | float) else ""


def number(value: Yaml, *path: str | int) -> int:
    """The whole number at a path; 0 when there is none."""
    found = dig(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def flag(value: Yaml, *path: str | int) -> bool:
    """Whether the value at a path is true."""
    return dig(value, *path) is True


def mapping(value: Yaml, *path: str | int) -> Object:
    """The mapping at a path; empty when there is none."""
    found = dig(value, *path)
    return found if isinstance(found, dict) else {}


def sequence(value: Yaml, *path: str | int) -> list[Yaml]:
    """The list at a path; empty when there is none."""
    found = dig(value, *path)
    return found if isinstance(found, list) else []


def objects(value: Yaml, *path: str | int) -> list[Object]:
    """The mappings of the list at a path, everything else left out."""
    return [item for item in sequence(value, *path) if isinstance(item, dict)]


def name_of(item: Object) -> str:
    """`metadata.name`."""
    return text(item, "metadata", "name")


def namespace_of(item: Object) -> str:
    """`metadata.namespace`; empty for cluster-wide objects."""
    return text(item, "metadata", "namespace")
