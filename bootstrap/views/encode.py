"""Records as JSON values and lines."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from bootstrap.engine.events import RunEnded, Stamped

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def encode(value: object) -> Json:
    """A record, to any depth; seconds are rounded to milliseconds.

    Raises:
        TypeError: a kind of value that no event holds.
    """
    if isinstance(value, tuple | list):
        return [encode(part) for part in value]
    if dataclasses.is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(part) for key, part in value.items()}
    return _scalar(value)


def _scalar(value: object) -> Json:
    if isinstance(value, Enum):
        return _scalar(value.value)
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def event_name(stamped: Stamped) -> str:
    """The event's kind as a person or a filter names it: `step-moved`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(stamped.event).__name__).lower()


def fields(stamped: Stamped) -> dict[str, Json]:
    """What the event holds; of the end of the run only how it ended, the report says the rest."""
    event = stamped.event
    if isinstance(event, RunEnded):
        return {"state": event.verdict.state.value, "exit_code": int(event.verdict.exit_code)}
    encoded = encode(event)
    return encoded if isinstance(encoded, dict) else {}
