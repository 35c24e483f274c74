"""The configuration that a node runs with beside the one that its files give: where they differ, never by what."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bootstrap.host import yaml_io

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.secret import Secret

# Places that are named; who sees five looks at the whole.
MOST_PLACES: Final = 5


def differences(wanted: Secret, live: Secret) -> tuple[str, ...]:
    """The places in which two machine configurations differ, at most `MOST_PLACES`; empty when they are equal.

    Args:
        wanted: as it was rendered.
        live: as the node gives it.

    Raises:
        InputError: one of them is not YAML.
    """
    here, there = _documents(wanted), _documents(live)
    return tuple(islice(_differ(here, there, ""), MOST_PLACES))


def _documents(config: Secret) -> dict[str, Any]:
    found = yaml_io.load_all(config.reveal(), source=config.reference)
    return {_name(each): each for each in found if isinstance(each, dict)}


def _name(document: dict[str, Any]) -> str:
    return " ".join(str(document[key]) for key in ("kind", "name") if key in document)


def _differ(here: Any, there: Any, path: str) -> Iterator[str]:
    if here == there:
        return
    if not isinstance(here, dict) or not isinstance(there, dict):
        yield path or "the whole document"
        return
    for key in sorted({*here, *there}):
        yield from _differ(here.get(key), there.get(key), f"{path}.{key}".lstrip("."))
