"""Reads a raw document into the schema's models, and words what the models refuse."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from inventory.findings import Finding, Location, dotted
from inventory.schema import ClusterPart, Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.yaml_io import Yaml


def parse(document: Yaml) -> tuple[ClusterPart | None, tuple[Finding, ...]]:
    """The document as a model, or every finding about its form; never both."""
    try:
        return ClusterPart.model_validate(document), ()
    except ValidationError as error:
        return None, tuple(_findings(error))


def _findings(error: ValidationError) -> Iterator[Finding]:
    for detail in error.errors(include_url=False):
        location: Location = tuple(detail["loc"])
        yield Finding(location, _explain(location, detail["type"], detail["msg"], detail.get("ctx"), detail["input"]))


def _explain(location: Location, kind: str, message: str, context: dict[str, Any] | None, found: object) -> str:
    place = f"`{dotted(location)}`" if location else "the file"
    if kind == "missing":
        return f"{place} is missing"
    if kind in {"model_type", "dict_type"}:
        return f"{place} is not a mapping of keys to values"
    if kind == "tuple_type":
        return f"{place} is not a list"
    if kind == "extra_forbidden":
        return f"{place} is an unknown key{_nearest(str(location[-1]))}"
    # What stands where a reference is wanted may be the secret itself; a URL may hold a password.
    secret = location[:1] == ("secrets",) or (isinstance(found, str) and "://" in found and "@" in found)
    shown = isinstance(found, (str, int, float)) and not secret
    if kind == "value_error" and context:
        return f"{place}: {json.dumps(found) if shown else 'the value'} {context['error']}"
    text = message[:1].lower() + message[1:]
    return f"{place}: {text}, found {json.dumps(found)}" if shown else f"{place}: {text}"


def _nearest(key: str) -> str:
    known = {field.alias or name for part in Part.__subclasses__() for name, field in part.model_fields.items()}
    nearest = difflib.get_close_matches(key, sorted(known), n=1)
    return f"; the nearest known key is `{nearest[0]}`" if nearest else ""
