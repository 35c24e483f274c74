"""Flux's variable substitution, exactly as its controllers do it on the text of each object.

A port of github.com/fluxcd/pkg/envsubst v1.5.0 (which kustomize-controller 1.7.2 uses through
github.com/fluxcd/pkg/kustomize v1.23.0), scanner, oddities and all: `:+`, `:?` and `=` are all the default
operator, lengths and positions count bytes, `$$` is one dollar, `${X-d}` is an error, and with no variable at
all nothing is touched, not even an escape. Equal to the original for every ASCII text; between `:` and `}` the
original miscounts characters of more than one byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gitops import operators

_NAME: Final = re.compile(r"[_A-Za-z][_A-Za-z0-9]*")
# An operator has two characters at most.
_SECOND: Final = 2
# A variable that is empty with these is what its author wanted.
_DEFAULTS: Final = frozenset({"=", ":=", ":-", ":?", ":+"})

_Accept: TypeAlias = Callable[[str, int], bool]


class SubstitutionError(Exception):
    """The text cannot be substituted; says why in Flux's words."""


@dataclass(frozen=True)
class Substituted:
    """What became of a text.

    Attributes:
        text: the result.
        used: the variables that the text asks for.
        unset: those of them that have no value and no default in the text; each became empty.
    """

    text: str
    used: frozenset[str] = frozenset()
    unset: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Reference:
    """`${name}` or `${name<operator>arguments}`."""

    name: str
    operator: str = ""
    arguments: tuple[str | _Reference, ...] = ()


def substitute(text: str, variables: Mapping[str, str]) -> Substituted:
    """Replace the variables of a text.

    Args:
        text: any text; for Flux the YAML of one object.
        variables: by name; newlines in values are dropped, as Flux does.

    Raises:
        SubstitutionError: a variable's name is not one, or the text has a reference that cannot be parsed.
    """
    for name in variables:
        if not _NAME.fullmatch(name):
            raise SubstitutionError(f"'{name}' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'")
    if not variables or "$" not in text:
        return Substituted(text)
    evaluation = _Evaluation({name: value.replace("\n", "") for name, value in variables.items()})
    result = "".join(evaluation.value(node) for node in _Parser(text).parse())
    return Substituted(result, frozenset(evaluation.used), frozenset(evaluation.unset))


@dataclass
class _Evaluation:
    variables: Mapping[str, str]
    used: set[str] = field(default_factory=set)
    unset: set[str] = field(default_factory=set)

    def value(self, node: str | _Reference) -> str:
        if isinstance(node, str):
            return node
        arguments = [self.value(argument) for argument in node.arguments]
        self.used.add(node.name)
        if node.name not in self.variables and not (node.operator in _DEFAULTS and arguments):
            self.unset.add(node.name)
        return operators.apply(node.operator, self.variables.get(node.name, ""), arguments)


class _Parser:
    """The scanner and parser of envsubst; `skip` shortens the buffer, as there."""

    def __init__(self, text: str) -> None:
        self._buffer = text
        self._position = 0
        self._start = 0
        self._escapes = "$"

    def parse(self) -> list[str | _Reference]:
        found: list[str | _Reference] = []
        while self._position < len(self._buffer):
            self._escapes = "$"
            if self._opens():
                self._position += 2
                found.append(self._reference())
            else:
                found.append(self._plain())
        return found

    def _plain(self) -> str:
        """Text up to the next reference, `$$` made one dollar."""
        parts: list[str] = []
        while True:
            dollar = self._buffer.find("$", self._position)
            if dollar < 0:
                parts.append(self._buffer[self._position :])
                self._position = len(self._buffer)
                return "".join(parts)
            following = self._buffer[dollar + 1 : dollar + 2]
            if following == "{":
                parts.append(self._buffer[self._position : dollar])
                self._position = dollar
                return "".join(parts)
            parts.append(self._buffer[self._position : dollar + 1])
            self._position = dollar + (2 if following == "$" else 1)

    def _peek(self) -> str:
        return self._buffer[self._position : self._position + 1]

    def _opens(self) -> bool:
        return self._buffer.startswith("${", self._position)

    def _escaped(self) -> bool:
        here, following = self._peek(), self._buffer[self._position + 1 : self._position + 2]
        if here == "$":
            return "$" in self._escapes and following == "$"
        return here == "\\" and "\\" in self._escapes and following in {"/", "\\"}

    def _word(self, accept: _Accept, *, nested: bool = False, escapes: bool = False) -> str | None:
        """The next run of accepted characters; None when the first is not one, or at the end."""
        self._start = self._position
        if not self._peek() or not self._step(accept, escapes=escapes):
            return None
        while self._peek() and not (nested and self._opens()) and self._step(accept, escapes=escapes):
            pass
        return self._buffer[self._start : self._position]

    def _step(self, accept: _Accept, *, escapes: bool) -> bool:
        if escapes and self._escaped():
            self._buffer = self._buffer[: self._position] + self._buffer[self._position + 1 :]
        elif not accept(self._peek(), self._position - self._start + 1):
            return False
        self._position += 1
        return True

    def _reference(self) -> _Reference:
        self._escapes = "$\\"
        if self._peek() == "#":
            return self._length()
        name = self._word(_identifier)
        if name is None:
            raise SubstitutionError("unable to parse variable name")
        following = self._peek()
        if following == ":":
            after = self._buffer[self._position + 1 : self._position + 2]
            return self._default(name) if after and after in "=-?+" else self._part(name)
        parsers = {
            "=": self._default, ",": self._casing, "^": self._casing, "/": self._replacement,
            "#": self._removal, "%": self._removal,
        }  # fmt: skip
        if following in parsers:
            return parsers[following](name)
        if following != "}":
            raise SubstitutionError("missing closing brace")
        self._position += 1
        return _Reference(name)

    def _length(self) -> _Reference:
        self._operator(lambda character, place: character == "#" and place == 1)
        name = self._word(_identifier)
        if name is None:
            raise SubstitutionError("bad substitution")
        return self._closed(_Reference(name, "#"))

    def _default(self, name: str) -> _Reference:
        operator = self._operator(_equals if self._peek() == "=" else _default_operator)
        arguments: list[str | _Reference] = []
        while self._peek() != "}":
            arguments.append(self._parameter(_before("}")))
        return self._closed(_Reference(name, operator, tuple(arguments)))

    def _part(self, name: str) -> _Reference:
        operator = self._operator(lambda character, place: character == ":" and place == 1)
        position = self._parameter(_before(":}"))
        if self._peek() == "}":
            return self._closed(_Reference(name, operator, (position,)))
        self._operator(lambda character, _: character == ":")
        return self._closed(_Reference(name, operator, (position, self._parameter(_before("}")))))

    def _casing(self, name: str) -> _Reference:
        return self._closed(_Reference(name, self._operator(_doubled(",^"))))

    def _removal(self, name: str) -> _Reference:
        operator = self._operator(_doubled(self._peek()))
        return self._closed(_Reference(name, operator, (self._parameter(_before("}")),)))

    def _replacement(self, name: str) -> _Reference:
        operator = self._operator(
            lambda character, place: (place == 1 and character == "/") or (place == _SECOND and character in "/#%")
        )
        pattern = self._parameter(_before("/"), escapes=True)
        self._operator(lambda character, _: character == "/")
        if self._peek() == "}":
            return self._closed(_Reference(name, operator, (pattern,)))
        return self._closed(_Reference(name, operator, (pattern, self._parameter(_before("}"), escapes=True))))

    def _operator(self, accept: _Accept) -> str:
        found = self._word(accept)
        if found is None:
            raise SubstitutionError("bad substitution")
        return found

    def _parameter(self, accept: _Accept, *, escapes: bool = False) -> str | _Reference:
        if self._opens():
            self._position += 2
            return self._reference()
        found = self._word(accept, nested=True, escapes=escapes)
        if found is None:
            raise SubstitutionError("unable to parse substitution within function")
        return found

    def _closed(self, reference: _Reference) -> _Reference:
        if self._peek() != "}":
            raise SubstitutionError("bad substitution")
        self._position += 1
        return reference


def _identifier(character: str, _: int) -> bool:
    return character.isalpha() or character.isdecimal() or character == "_"


def _equals(character: str, place: int) -> bool:
    return character == "=" and place == 1


def _default_operator(character: str, place: int) -> bool:
    return (place == 1 and character == ":") or (place == _SECOND and character in "=-?+")


def _before(ends: str) -> _Accept:
    return lambda character, _: character not in ends


def _doubled(characters: str) -> _Accept:
    return lambda character, place: character in characters and place <= _SECOND
