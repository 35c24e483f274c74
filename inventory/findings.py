"""What is wrong in a file, by the keys that lead there, and where that is in the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from bootstrap.host import yaml_io
from bootstrap.host.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

Location: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, by the path of keys and indices that leads to it."""

    location: Location
    text: str


def dotted(location: Location) -> str:
    """The path as people write it, for example `nodes[0].address`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def located(findings: Iterable[Finding], text: str | bytes, source: str, *, remedy: str = "") -> tuple[Problem, ...]:
    """The findings with line and column, in the order of the text.

    A finding about what is missing gets the place of what should hold it.

    Args:
        findings: about one file.
        text: the file's content.
        source: its name for messages.
        remedy: what resolves each of them; may be empty.

    Raises:
        InputError: the text is not YAML.
    """
    places = yaml_io.positions(text, source=source)
    problems = []
    for finding in findings:
        location = finding.location
        while location and location not in places:
            location = location[:-1]
        place = places.get(location)
        line, column = (place.line, place.column) if place else (0, 0)
        problems.append(Problem(finding.text, source, line, column, remedy))
    return tuple(sorted(problems, key=lambda problem: (problem.line, problem.column, problem.text)))
