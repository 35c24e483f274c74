"""What the operators of a variable reference do; a port of envsubst's functions (see `gitops.substitution`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

# What Go's strconv.Atoi takes: no spaces, no underscores.
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")

_Operation: TypeAlias = Callable[[str, Sequence[str]], str]


def apply(operator: str, value: str, arguments: Sequence[str]) -> str:
    """The value of `${name<operator><arguments>}`.

    Args:
        operator: `:=`, `##`, ...; empty for a plain reference.
        value: the variable's value; empty when it has none.
        arguments: already evaluated.
    """
    return _OPERATIONS.get(operator, _default)(value, arguments)


def _default(value: str, arguments: Sequence[str]) -> str:
    return value or "".join(arguments)


def _length_or_shortest_prefix(value: str, arguments: Sequence[str]) -> str:
    return _trim(value, arguments[0], shortest=True) if arguments else str(len(value.encode()))


def _part(value: str, arguments: Sequence[str]) -> str:
    if not all(_INTEGER.fullmatch(argument) for argument in arguments):
        return value
    position = int(arguments[0])
    length = int(arguments[1]) if len(arguments) > 1 else None
    content = value.encode()
    if position < 0:
        position = max(0, len(content) + position)
    end = len(content) if length is None or position + length >= len(content) else position + length
    return content[position:end].decode("utf-8", "replace")


def _replace(count: int) -> _Operation:
    def replace(value: str, arguments: Sequence[str]) -> str:
        return value.replace(arguments[0], arguments[1] if len(arguments) > 1 else "", count)

    return replace


def _replace_prefix(value: str, arguments: Sequence[str]) -> str:
    pattern, *replacement = arguments
    if replacement and value.startswith(pattern):
        return value.replace(pattern, replacement[0], 1)
    return value


def _replace_suffix(value: str, arguments: Sequence[str]) -> str:
    pattern, *replacement = arguments
    if replacement and value.endswith(pattern):
        return value.removesuffix(pattern) + replacement[0]
    return value


def _trim(value: str, pattern: str, *, shortest: bool) -> str:
    """Without the prefix that matches; the empty prefix is never tried, as in envsubst."""
    expression = _compiled(pattern)
    if expression is None:
        return value
    ends = range(1, len(value) + 1) if shortest else range(len(value), 0, -1)
    for end in ends:
        if expression.fullmatch(value[:end]):
            return value[end:]
    return value


def _trim_suffix(value: str, pattern: str, *, shortest: bool) -> str:
    # The pattern is reversed as text, so a class or an escape in it is taken apart, as in envsubst.
    return _trim(value[::-1], pattern[::-1], shortest=shortest)[::-1]


def _compiled(pattern: str) -> re.Pattern[str] | None:
    """Go's `path.Match` in which `*` also crosses `/`; None for a pattern that it refuses."""
    parts: list[str] = []
    place = 0
    while place < len(pattern):
        character = pattern[place]
        place += 1
        if character == "*":
            parts.append(".*")
        elif character == "?":
            parts.append(".")
        elif character == "[":
            found = re.compile(r"(\^?)((?:\\.|[^\\\]\-])(?:-?(?:\\.|[^\\\]\-]))*)\]", re.DOTALL).match(pattern, place)
            if found is None:
                return None
            parts.append(f"[{found[1]}{_class(found[2])}]")
            place = found.end()
        elif character == "\\":
            if place == len(pattern):
                return None
            parts.append(re.escape(pattern[place]))
            place += 1
        else:
            parts.append(re.escape(character))
    return re.compile("".join(parts), re.DOTALL)


def _class(content: str) -> str:
    return "".join("-" if part == "-" else re.escape(part[-1]) for part in re.findall(r"\\.|.", content, re.DOTALL))


_OPERATIONS: Final[dict[str, _Operation]] = {
    ",": lambda value, _: value[:1].lower() + value[1:],
    ",,": lambda value, _: value.lower(),
    "^": lambda value, _: value[:1].upper() + value[1:],
    "^^": lambda value, _: value.upper(),
    "#": _length_or_shortest_prefix,
    "##": lambda value, arguments: _trim(value, arguments[0], shortest=False),
    "%": lambda value, arguments: _trim_suffix(value, arguments[0], shortest=True),
    "%%": lambda value, arguments: _trim_suffix(value, arguments[0], shortest=False),
    ":": _part,
    "/#": _replace_prefix,
    "/%": _replace_suffix,
    "/": _replace(1),
    "//": _replace(-1),
}
