"""YAML as Kubernetes reads it; the only importer of `yaml`.

PyYAML's own loaders refuse the plain scalar `=` that real CRDs hold, take the last of two equal keys and make
dates of version numbers (yaml/pyyaml#89). This loader is libyaml with other resolvers: YAML 1.1 booleans and
octal stay, `=`, dates and base 60 are text, `1e3` is a number, a duplicate key is an error.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import yaml  # noqa: TID251 # this module is the one place

from bootstrap.host.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Yaml: TypeAlias = "bool | int | float | str | list[Yaml] | dict[str, Yaml] | None"

_NULL: Final = "tag:yaml.org,2002:null"
_DROPPED: Final = frozenset({"tag:yaml.org,2002:value", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int"})


class _Loader(yaml.CSafeLoader):
    """libyaml's safe loader with the resolvers described above."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _DROPPED]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


@dataclass(frozen=True)
class Position:
    """A place in a file, one-based."""

    line: int
    column: int


@dataclass(frozen=True)
class Span:
    """Where a value stands in a text, as offsets of characters; `end` is behind the last one.

    Attributes:
        key: where its entry begins: its key in a mapping, else the value itself.
        key_end: behind that key; equal to `start` where there is none.
        start: where the value begins.
        end: where it ends, comments and blank lines behind it left out.
        flow: whether it is a collection in brackets or braces.
    """

    key: int
    key_end: int
    start: int
    end: int
    flow: bool


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[object, object]:
    loader.flatten_mapping(node)
    result: dict[object, object] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, (dict, list)):
            raise yaml.constructor.ConstructorError(None, None, "a key is a collection", key_node.start_mark)
        if key in result:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands twice in one mapping", key_node.start_mark
            )
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def load_all(text: str | bytes, *, source: str) -> list[Yaml]:
    """Every document of a text; empty documents are left out.

    Args:
        text: YAML, any number of documents.
        source: the file's name for messages, relative to the repository.

    Raises:
        InputError: not YAML, or a key stands twice; names file, line and column.
    """
    with _refusing(text, source):
        return [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]


def load(text: str | bytes, *, source: str) -> Yaml:
    """The one document of a text; an empty text gives None.

    Raises:
        InputError: as `load_all`, and when there is more than one document.
    """
    documents = load_all(text, source=source)
    if len(documents) > 1:
        _, second, *_ = _documents(text)
        place = (second.start_mark.line + 1, second.start_mark.column + 1)
        problem = Problem("one YAML document is wanted, here the second begins", source, *place)
        raise InputError(f"{source} holds more documents than one", (problem,))
    return documents[0] if documents else None


def load_file(path: Path, *, root: Path | None = None) -> list[Yaml]:
    """Every document of a file.

    Args:
        path: the file.
        root: messages name the file relative to this folder.

    Raises:
        InputError: the file is not there, is not text, or is not YAML.
    """
    name = str(path.relative_to(root)) if root and path.is_relative_to(root) else str(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {name}", (Problem(error.strerror or str(error), name),)) from None
    return load_all(text, source=name)


def positions(text: str | bytes, *, source: str, document: int = 0) -> dict[tuple[str | int, ...], Position]:
    """Where each value of a document stands, by its path of keys and indices; the empty path is the document.

    Raises:
        InputError: not YAML.
    """
    found: dict[tuple[str | int, ...], Position] = {}
    with _refusing(text, source):
        nodes = list(_documents(text))
        if document < len(nodes):
            _walk(nodes[document], (), found)
    return found


def spans(text: str, *, source: str) -> dict[tuple[str | int, ...], Span]:
    """The extent of each value of the one document of a text, by its path, for who edits the text itself.

    Raises:
        InputError: not YAML, or more documents than one.
    """
    found: dict[tuple[str | int, ...], Span] = {}
    with _refusing(text, source):
        node = yaml.compose(text, Loader=_Loader)
        if node is not None:
            _extend(node, None, (), found)
    return found


def dump(value: Yaml) -> str:
    """One document in block style, keys in the order given, long lines unbroken."""
    never_fold = 10_000  # columns; no line of ours is longer
    return yaml.dump(
        value, Dumper=yaml.CSafeDumper, sort_keys=False, default_flow_style=False, width=never_fold, allow_unicode=True
    )


def dump_all(values: list[Yaml]) -> str:
    """Several documents, separated by `---`."""
    return "---\n".join(dump(value) for value in values)


def _documents(text: str | bytes) -> Iterator[yaml.Node]:
    """The documents that `load_all` gives, so that both count alike."""
    return (node for node in yaml.compose_all(text, Loader=_Loader) if node is not None and node.tag != _NULL)


def _walk(node: yaml.Node, path: tuple[str | int, ...], found: dict[tuple[str | int, ...], Position]) -> None:
    found[path] = Position(node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _walk(value, (*path, str(key.value)), found)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*path, index), found)


def _extend(
    node: yaml.Node, key: yaml.Node | None, path: tuple[str | int, ...], found: dict[tuple[str | int, ...], Span]
) -> int:
    """Note a value and what it holds; gives where it ends."""
    start, end = node.start_mark.index, node.end_mark.index
    inner: list[int] = []
    if isinstance(node, yaml.MappingNode):
        inner = [_extend(value, name, (*path, str(name.value)), found) for name, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        inner = [_extend(value, None, (*path, index), found) for index, value in enumerate(node.value)]
    flow = isinstance(node, yaml.CollectionNode) and bool(node.flow_style)
    if inner and not flow:
        # libyaml ends a block collection where the next token begins, behind comments that are not its own.
        end = max(inner)
    before = (key.start_mark.index, key.end_mark.index) if key else (start, start)
    found[path] = Span(*before, start, end, flow)
    return end


@contextmanager
def _refusing(text: str | bytes, source: str) -> Iterator[None]:
    """Says what is wrong with a text as an `InputError` with its place."""
    try:
        yield
    except RecursionError:
        raise InputError(f"{source} is not valid YAML", (Problem("it is nested too deeply", source),)) from None
    except yaml.YAMLError as error:
        raise InputError(f"{source} is not valid YAML", (_problem(error, text, source),)) from None


def _problem(error: yaml.YAMLError, text: str | bytes, source: str) -> Problem:
    said = str(getattr(error, "problem", None) or str(error).splitlines()[0])
    content = text.encode() if isinstance(text, str) else text
    if isinstance(error, yaml.reader.ReaderError):
        # The reader counts bytes and knows no lines.
        before = content[: error.position].decode(errors="replace").split("\n")
        return Problem(said, source, len(before), len(before[-1]) + 1)
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return Problem(said, source)
    lines = content.decode(errors="replace").splitlines()
    if mark.line < len(lines) and lines[mark.line][mark.column : mark.column + 1] == "\t":
        said = f"a tab stands where YAML wants spaces ({said})"
    return Problem(said, source, mark.line + 1, mark.column + 1)
