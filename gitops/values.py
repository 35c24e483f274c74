"""Values of a HelmRelease from every place, composed as helm-controller does it.

A port of `ChartValuesFromReferences` and `ReplacePathValue` in github.com/fluxcd/pkg/chartutil v1.15.0, aliasing
included: what stands at a target path is written into the maps of the release's own values where these were taken as
they are, so that it wins there, and is overwritten by a value that the release itself gives at its top.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError
from bootstrap.host.objects import Object, flag, mapping, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bootstrap.host.yaml_io import Yaml

# As meta.ValuesReference.GetValuesKey has it.
_KEY: Final = "values.yaml"
_KINDS: Final = frozenset({"ConfigMap", "Secret"})
# A step of a target path: a name in which dots are escaped, and the indices behind it.
_STEP: Final = re.compile(r"((?:\\.|[^.\[\]\\])+)((?:\[\d+\])*)(?:\.|$)")
# What helm's parser of `--set` (strvals in helm 3.19) takes apart further: lists, further keys, escapes.
_MORE: Final = re.compile(r"^\{|[,\\]")
_INTEGER: Final = re.compile(r"0|[1-9]\d*|[+-]\d+")
# A list with a hole of this size is a mistake, as strvals.MaxIndex has it.
_LONGEST: Final = 65536


class _RefusedError(Exception):
    """A reference cannot be resolved; says why."""


@dataclass(frozen=True)
class Reference:
    """An entry of `valuesFrom`.

    Attributes:
        kind: `ConfigMap` or `Secret`.
        namespace: the release's own.
        name: of the object.
        key: of its data.
        path: where in the values its content goes; empty when it holds values.
        optional: whether it may be missing.
    """

    kind: str
    namespace: str
    name: str
    key: str
    path: str
    optional: bool

    @classmethod
    def of(cls, entry: Object, namespace: str) -> Reference:
        """From the release's own words."""
        return cls(
            text(entry, "kind"), namespace, text(entry, "name"), text(entry, "valuesKey") or _KEY,
            text(entry, "targetPath"), flag(entry, "optional"),
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name} ({self.key})"


@dataclass(frozen=True)
class Composed:
    """What became of a release's values.

    Attributes:
        values: what helm gets; without the references that are problems.
        problems: what is wrong with a reference, by its place in the list.
    """

    values: Object
    problems: Mapping[int, str]


def compose(own: Object, references: Sequence[Reference], find: Callable[[str, str], Object | None]) -> Composed:
    """References in their order, the release's own values over them.

    Args:
        own: `spec.values`; not changed.
        references: `spec.valuesFrom`.
        find: gives the object of a kind and name, None when it is not in the tree.
    """
    own = _copied(own)
    result: Object = {}
    problems: dict[int, str] = {}
    for index, reference in enumerate(references):
        try:
            content = _content(reference, find)
            if content is not None and reference.path:
                result = merged(result, own)
                _replace(result, reference, content)
            elif content is not None:
                result = merged(result, _parsed(reference, content))
        except _RefusedError as error:
            problems[index] = str(error)
    return Composed(merged(result, own), problems)


def merged(under: Object, over: Object) -> Object:
    """Mappings merged key by key, everything else replaced, as helm does it."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _content(reference: Reference, find: Callable[[str, str], Object | None]) -> str | None:
    if reference.kind not in _KINDS:
        raise _RefusedError(f"values come from a ConfigMap or a Secret, not from {reference.kind or 'nothing'}")
    item = find(reference.kind, reference.name)
    data = _data(item) if item is not None else {}
    if reference.key in data:
        return data[reference.key]
    if reference.optional:
        return None
    raise _RefusedError(f"values of {reference} cannot be read from the tree")


def _data(item: Object) -> dict[str, str]:
    plain = {key: text(value) for key, value in mapping(item, "data").items()}
    if item.get("kind") != "Secret":
        return plain
    try:
        decoded = {key: base64.b64decode(value, validate=True).decode() for key, value in plain.items()}
    except (binascii.Error, UnicodeDecodeError):
        raise _RefusedError("the data of a Secret are not base64 of a text") from None
    return {**decoded, **{key: text(value) for key, value in mapping(item, "stringData").items()}}


def _parsed(reference: Reference, content: str) -> Object:
    try:
        found = yaml_io.load(content, source=str(reference)) if content.strip() else None
    except InputError as error:
        raise _RefusedError(f"values of {reference} are not YAML: {error.problems[0].text}") from None
    if found is not None and not isinstance(found, dict):
        raise _RefusedError(f"values of {reference} are no mapping")
    return found or {}


def _replace(values: Object, reference: Reference, content: str) -> None:
    is_quoted = content != "" and content[0] == content[-1] and content[0] in "'\""
    if is_quoted:
        content = content.strip("'\"")
    if _MORE.search(content):
        raise _RefusedError(f"{reference} goes to {reference.path}: lists, commas and escapes are not read here")
    _set(values, _steps(reference), content if is_quoted else _typed(content), reference)


def _steps(reference: Reference) -> list[str | int]:
    steps: list[str | int] = []
    place = 0
    while place < len(reference.path):
        found = _STEP.match(reference.path, place)
        if found is None:
            raise _RefusedError(f"the target path {reference.path!r} cannot be read")
        steps.append(re.sub(r"\\(.)", r"\1", found[1]))
        steps += [int(index) for index in re.findall(r"\d+", found[2])]
        place = found.end()
    return steps


def _set(values: Object, steps: list[str | int], value: Yaml, reference: Reference) -> None:
    place: Yaml = values
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        empty: Yaml = [] if isinstance(following, int) else {}
        if isinstance(step, int) and isinstance(place, list) and step < _LONGEST:
            place += [None] * (step + 1 - len(place))
            place[step] = value if following is None else _kept(place[step], empty)
            place = place[step]
        elif isinstance(step, str) and isinstance(place, dict):
            place[step] = value if following is None else _kept(place.get(step), empty)
            place = place[step]
        else:
            raise _RefusedError(f"{reference} cannot go to {reference.path}: something else is on the way")


def _kept(found: Yaml, empty: Yaml) -> Yaml:
    return empty if found is None else found


def _typed(content: str) -> Yaml:
    """What helm makes of the text of `--set`."""
    words: dict[str, Yaml] = {"true": True, "false": False, "null": None}
    if content.lower() in words:
        return words[content.lower()]
    return int(content) if _INTEGER.fullmatch(content) else content


def _copied(value: Object) -> Object:
    return {key: _copy_of(part) for key, part in value.items()}


def _copy_of(value: Yaml) -> Yaml:
    if isinstance(value, dict):
        return _copied(value)
    return [_copy_of(part) for part in value] if isinstance(value, list) else value
