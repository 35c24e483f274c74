"""Puts facts that were discovered into the text of an inventory file; comments, order and style stay."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from inventory.view import View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.host.yaml_io import Yaml
    from inventory.findings import Location

# A text that every reader of YAML takes for a text, without quotes.
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
# Words that YAML 1.1 takes for truth values or for nothing.
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def confirmed(text: str, facts: Mapping[str, Mapping[str, Yaml]], *, source: str) -> str:
    """The text with the facts in it, each taken out of its node's `unverified`.

    A list of the same length and a mapping with no key less are edited value by value; others are written anew,
    on one line, and lose the comments inside.

    Args:
        text: content of an inventory file.
        facts: by the node's name, then by the node's key, for example `{"infra-01": {"links": ["eno1", "eno2"]}}`.
        source: the file's name for messages.

    Raises:
        InputError: the text is not YAML, has no such node, or is written in a way that only a person can edit (with
            anchors, or with `unverified` as a node's first key).
    """
    wanted = yaml_io.load(text, source=source)
    nodes = {View(wanted).text(*node, "name"): node for node in View(wanted).items("nodes")}
    unknown = [Problem(f'there is no node "{name}"', source) for name in facts if name not in nodes]
    if unknown:
        raise InputError(f"{source} cannot take the facts", tuple(unknown))
    for name, values in facts.items():
        for fact, value in values.items():
            text = _unmarked(_set(text, (*nodes[name], fact), value), nodes[name], fact)
            _put(View(wanted).value(*nodes[name]), fact, value)
    if yaml_io.load(text, source=source) != wanted:
        listed = tuple(
            Problem(f"{name}: {fact}: {json.dumps(value)}", source)
            for name, values in facts.items()
            for fact, value in values.items()
        )
        raise InputError(f"{source} is written in a way that only a person can edit", listed)
    return text


def _put(node: Yaml, fact: str, value: Yaml) -> None:
    """What `confirmed` does to the text, done to the document that it stands for."""
    if isinstance(node, dict):
        node[fact] = value
        marks = node.get("unverified")
        if isinstance(marks, list) and fact in marks:
            marks.remove(fact)
            if not marks:
                del node["unverified"]


def _set(text: str, location: Location, value: Yaml) -> str:
    found = View(yaml_io.load(text, source="")).value(*location)
    spans = yaml_io.spans(text, source="")
    if location not in spans:
        return _inserted(text, spans, location, value)
    if found == value:
        return text
    if isinstance(found, list) and isinstance(value, list) and len(found) == len(value):
        for index, item in enumerate(value):
            text = _set(text, (*location, index), item)
        return text
    if found and isinstance(found, dict) and isinstance(value, dict) and found.keys() <= value.keys():
        for key, item in value.items():
            text = _set(text, (*location, key), item)
        return text
    span = spans[location]
    if isinstance(found, (list, dict, type(None))) and not span.flow:
        return f"{text[: span.key_end]}: {_flow(value)}{text[span.end :]}"
    return f"{text[: span.start]}{_flow(value)}{text[span.end :]}"


def _inserted(text: str, spans: Mapping[Location, yaml_io.Span], location: Location, value: Yaml) -> str:
    parent, entry = location[:-1], f"{location[-1]}: {_flow(value)}"
    siblings = [span for place, span in spans.items() if place[:-1] == parent and place]
    # Facts of a node stand together behind its ports; elsewhere the end is as good a place as any.
    before = spans.get((*parent, "macs")) or max(siblings, key=lambda span: span.end)
    if spans[parent].flow:
        return f"{text[: before.end]}, {entry}{text[before.end :]}"
    end = _line_end(text, before.end)
    indent = " " * (before.key - _line_start(text, before.key))
    return f"{text[:end]}\n{indent}{entry}{text[end:]}"


def _unmarked(text: str, node: Location, fact: str) -> str:
    marks = [mark for _, mark in View(yaml_io.load(text, source="")).texts(*node, "unverified")]
    if fact not in marks:
        return text
    whole = (*node, "unverified")
    return _removed(text, whole if len(marks) == 1 else (*whole, marks.index(fact)))


def _removed(text: str, location: Location) -> str:
    spans = yaml_io.spans(text, source="")
    entry, parent = spans[location], location[:-1]
    if not spans[parent].flow:
        return text[: _line_start(text, entry.key)] + text[_line_end(text, entry.end) + 1 :]
    siblings = sorted((span for place, span in spans.items() if place and place[:-1] == parent), key=lambda s: s.key)
    index = siblings.index(entry)
    if index + 1 < len(siblings):
        return text[: entry.key] + text[siblings[index + 1].key :]
    start = siblings[index - 1].end if index else entry.key
    return text[:start] + text[entry.end :]


def _line_start(text: str, offset: int) -> int:
    return text.rfind("\n", 0, offset) + 1


def _line_end(text: str, offset: int) -> int:
    end = text.find("\n", offset)
    return len(text) if end < 0 else end


def _flow(value: Yaml) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_flow(each) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(each)}' for key, each in value.items())}}}"
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'
