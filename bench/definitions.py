"""Custom resource definitions of the number and sizes of the real ones, made up.

The pinned charts of infra bring 81 of them, 6.2 MB as compact JSON, nine above the 262,144 bytes of an annotation.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from bootstrap.host.yaml_io import Yaml

COUNT: Final = 81
LARGE: Final = 9
# Bytes of compact JSON: nine of this size and 72 of the other come to 6.2 MB.
LARGE_BYTES: Final = 400_000
SMALL_BYTES: Final = 36_200
# Fields of one object, and how deep objects lie in each other: about what controller-gen makes of Go types.
_FIELDS: Final = 8
_DEPTH: Final = 4
# With these words a field takes 230 bytes, as fields of the real definitions do on average.
_WORDS: Final = "What the field means, what it is when nobody sets it, and where to read on about it. " * 2


def definitions(group: str = "bench.example.org", *, count: int = COUNT, large: int = LARGE) -> list[Object]:
    """So many definitions of one group, the first of them large."""
    return [definition(group, number, LARGE_BYTES if number < large else SMALL_BYTES) for number in range(count)]


def definition(group: str, number: int, size: int) -> Object:
    """One definition, as large as asked for within some hundred bytes."""
    kind = f"Gadget{number}"
    plural = f"{kind.lower()}s"
    properties: dict[str, Yaml] = {}
    schema: dict[str, Yaml] = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    item: Object = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": {"controller-gen.kubebuilder.io/version": "v0.19.0"}},
        "spec": {
            "group": group,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }  # fmt: skip
    left = size - compact(item)
    while left > 0:
        field = _field(_DEPTH, left)
        properties[f"field{len(properties)}"] = field
        left -= compact(field) + len('"field00":,')
    return item


def compact(value: Yaml) -> int:
    """Bytes of its compact JSON."""
    return len(json.dumps(value, separators=(",", ":")))


def _field(depth: int, size: int) -> Yaml:
    """A tree of fields, not much larger than asked for."""
    leaf: Yaml = {"type": "string", "description": _WORDS}
    if depth == 0 or size < _FIELDS * compact(leaf):
        return leaf
    below: dict[str, Yaml] = {}
    left = size
    while left > 0 and len(below) < _FIELDS:
        field = _field(depth - 1, left)
        below[f"part{len(below)}"] = field
        left -= compact(field)
    return {"type": "object", "description": _WORDS, "properties": below}
