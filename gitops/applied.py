"""Is a live object what the model says that its Kustomization applies? By what kustomize-controller owns of it.

Its server-side apply leaves in `managedFields` (FieldsV1) exactly the fields that it sent, so a field that the model
does not have, or that only the model has, shows there, and no default or other writer can hide it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import Object, mapping, objects, text
from gitops.tree import KUSTOMIZE_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.yaml_io import Yaml

MANAGER: Final = "kustomize-controller"
# What kustomize-controller adds to everything that it applies.
_ADDED: Final = frozenset({("metadata", "labels", f"{KUSTOMIZE_GROUP}/{part}") for part in ("name", "namespace")})
# What names an object is owned by nobody.
_NAMES: Final = frozenset({("apiVersion",), ("kind",), ("metadata",), ("metadata", "name"), ("metadata", "namespace")})
_FIELD: Final = "f:"
_KEYED: Final = "k:"
_VALUE: Final = "v:"

_Path = tuple[str, ...]


def differences(item: Object, live: Object) -> list[str]:
    """Where a live object and what kustomize-controller owns of it differ from the model; empty when nowhere.

    Args:
        item: as the model has it.
        live: as the API gives it, `managedFields` included.
    """
    owned = [
        mapping(one, "fieldsV1")
        for one in objects(live, "metadata", "managedFields")
        if (text(one, "manager"), text(one, "operation")) == (MANAGER, "Apply") and not text(one, "subresource")
    ]
    if len(owned) != 1:
        return [f"{MANAGER} has applied it {len(owned)} times, once is wanted"]
    return list(_compared(owned[0], item, live, ()))


def _compared(owned: Object, wanted: Yaml, found: Yaml, path: _Path) -> Iterator[str]:
    if not owned:
        if not _equal(wanted, found):
            yield f"{_named(path)} is {json.dumps(found)}, {json.dumps(wanted)} is wanted"
        return
    if isinstance(wanted, list):
        yield from _compared_lists(owned, wanted, found, path)
        return
    fields = wanted if isinstance(wanted, dict) else {}
    below = found if isinstance(found, dict) else {}
    names = [key.removeprefix(_FIELD) for key in owned if key.startswith(_FIELD)]
    for name in names:
        further, under = (*path, name), mapping(owned, _FIELD + name)
        # A null that was sent is owned too.
        if fields.get(name) is not None or (name in fields and not under):
            yield from _compared(under, fields[name], below.get(name), further)
        elif not _is_added(under, further):
            yield f"{_named(further)} is applied, and not in the model"
    for name, value in fields.items():
        # The API server drops nulls, and lists and mappings that are empty.
        if name not in names and (*path, name) not in _NAMES and value not in (None, [], {}):
            yield f"{_named((*path, name))} is in the model, and not applied"


def _compared_lists(owned: Object, wanted: list[Yaml], found: Yaml, path: _Path) -> Iterator[str]:
    """Lists of which each item is owned for itself: by keys, which the API may have completed, or by its value."""
    live = found if isinstance(found, list) else []
    left = list(wanted)
    for key, below in owned.items():
        if key.startswith(_KEYED):
            keys = json.loads(key.removeprefix(_KEYED))
            item, there = _of_keys(left, keys), _of_keys(live, keys)
            where = (*path, f"[{','.join(str(value) for value in keys.values())}]")
            if item is None:
                yield f"{_named(where)} is applied, and not in the model"
                continue
            left.remove(item)
            # A key that the API completed is owned with the rest, and nobody wrote it.
            completed = {_FIELD + name for name in keys if isinstance(item, dict) and name not in item}
            rest = {name: part for name, part in mapping(below).items() if name not in completed}
            yield from _compared(rest, item, there, where)
        elif key.startswith(_VALUE):
            value = json.loads(key.removeprefix(_VALUE))
            if value in left:
                left.remove(value)
            else:
                yield f"{_named(path)} has {json.dumps(value)}, which is not in the model"
    for item in left:
        yield f"{_named(path)}: {json.dumps(item)} is in the model, and not applied"


def _of_keys(items: list[Yaml], keys: Object) -> Yaml:
    def fits(item: Yaml) -> bool:
        return isinstance(item, dict) and all(item.get(name, value) == value for name, value in keys.items())

    return next((item for item in items if fits(item)), None)


def _is_added(owned: Object, path: _Path) -> bool:
    """Whether a field is only there because of what the controller adds."""
    if path in _ADDED:
        return True
    below = [(*path, key.removeprefix(_FIELD)) for key in owned if key.startswith(_FIELD)]
    return bool(below) and all(_is_added(mapping(owned, _FIELD + one[-1]), one) for one in below)


def _equal(wanted: Yaml, found: Yaml) -> bool:
    """Whether a value is the wanted one, nulls and what the API completed in an owned whole left out."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(_equal(value, found.get(name)) for name, value in wanted.items() if value is not None)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(_equal(*pair) for pair in zip(wanted, found, strict=True))
    return wanted == found or (wanted in ({}, []) and found is None)


def _named(path: _Path) -> str:
    return ".".join(path)
