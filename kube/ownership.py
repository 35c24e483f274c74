"""Whether a live object already is what we want, told from its `managedFields`.

Server-side apply changes nothing when every field that we set is there, equal and owned by us, and we own
nothing else. That is decided here, so that a converged cluster costs one GET an object and no write. Where
this cannot be told (quantities that the server rewrites, for example) the answer is "different": the apply
that follows then leaves the resourceVersion alone.

The form of `managedFields` is described in
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
(`f:name` a field, `k:{...}` a list item by its keys, `v:...` a value of a set, `.` the item itself).
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import Object, mapping, objects, text
from kube.cluster import Comparison, Standing, reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.host.yaml_io import Yaml

# Enough to see what is going on; the whole list of a CRD would fill the screen.
_SHOWN: Final = 5
_UNMANAGED_METADATA: Final = ("name", "namespace")
_SERVER_METADATA: Final = (
    "creationTimestamp", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "selfLink",
    "uid",
)  # fmt: skip
_APPLIED_BY_FLUX: Final = "kustomize.toolkit.fluxcd.io/name"


def prepared(item: Object) -> Object:
    """The object as we apply it: without status and server-made metadata, `stringData` as `data`."""
    result = {key: value for key, value in item.items() if key not in {"status", "stringData"}}
    result["metadata"] = {key: value for key, value in mapping(item, "metadata").items() if key not in _SERVER_METADATA}
    if "stringData" in item:
        encoded: dict[str, Yaml] = {
            key: base64.b64encode(str(value).encode()).decode() for key, value in mapping(item, "stringData").items()
        }
        result["data"] = {**mapping(item, "data"), **encoded}
    return result


def compare(wanted: Object, live: Object | None, *, manager: str, successors: Sequence[str]) -> Comparison:
    """How a wanted object stands to the live one.

    Args:
        wanted: as `prepared` gives it.
        live: as the API gave it, with `managedFields`; None when it is not there.
        manager: our field manager.
        successors: managers that own the object once we handed it over.
    """
    name = reference(wanted)
    if live is None:
        return Comparison(name, Standing.ABSENT)
    owned = _owned(live, manager, text(wanted, "apiVersion"))
    if owned is None and _ceded(live, manager, successors):
        return Comparison(name, Standing.CEDED, live=live)
    found = _differences(wanted, live, owned or {})
    standing = Standing.DIFFERENT if found else Standing.EQUAL
    return Comparison(name, standing, tuple(found[:_SHOWN]), live)


def _entries(live: Object, manager: str) -> list[Object]:
    return [
        entry
        for entry in objects(live, "metadata", "managedFields")
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")
    ]


def _owned(live: Object, manager: str, api_version: str) -> Object | None:
    for entry in _entries(live, manager):
        if entry.get("apiVersion") == api_version:
            return mapping(entry, "fieldsV1")
    return None


def _ceded(live: Object, manager: str, successors: Sequence[str]) -> bool:
    if _entries(live, manager):
        return False
    labelled = bool(text(live, "metadata", "labels", _APPLIED_BY_FLUX))
    return labelled or any(_entries(live, successor) for successor in successors)


def _differences(wanted: Object, live: Object, owned: Object) -> list[str]:
    found: list[str] = []
    for key in sorted({*wanted, *_fields(owned)} - {"apiVersion", "kind"}):
        want, have, own = wanted.get(key), live.get(key), owned.get(f"f:{key}")
        if key == "metadata":
            want = {name: value for name, value in mapping(want).items() if name not in _UNMANAGED_METADATA}
            if not want and not own:
                continue
        if key in wanted and (want or want in (False, 0, "")) and key not in live:
            found.append(key)
        else:
            _walk(want, have, own, key, found)
    return found


def _fields(owned: Object) -> set[str]:
    return {key[2:] for key in owned if key.startswith("f:")}


def _walk(want: Yaml, have: Yaml, own: Yaml, path: str, found: list[str]) -> None:
    """Append the paths below `path` where the wanted value, the live value and our ownership disagree."""
    if not isinstance(own, dict):
        found.append(f"{path} (not ours)")
    elif not (set(own) - {"."}):
        if not same(want, have):
            found.append(path)
    elif isinstance(want, dict) and isinstance(have, dict):
        _walk_mapping(want, have, own, path, found)
    elif isinstance(want, list) and isinstance(have, list):
        _walk_list(want, have, own, path, found)
    else:
        found.append(path)


def _walk_mapping(want: Object, have: Object, own: Object, path: str, found: list[str]) -> None:
    for key in sorted({*want, *_fields(own)}):
        below = f"{path}.{key}"
        if key not in want:
            found.append(f"{below} (no longer wanted)")
        elif key not in have:
            found.append(below)
        else:
            _walk(want[key], have[key], own.get(f"f:{key}"), below, found)


def _walk_list(want: list[Yaml], have: list[Yaml], own: Object, path: str, found: list[str]) -> None:
    remaining = {key: value for key, value in own.items() if key[:2] in {"k:", "v:"}}
    for index, item in enumerate(want):
        below = f"{path}[{index}]"
        key = next((key for key in remaining if _names(key, item)), None)
        if key is None:
            found.append(f"{below} (not ours)")
            continue
        owned_item = remaining.pop(key)
        live_item = next((other for other in have if _names(key, other)), None)
        if key.startswith("v:"):
            if live_item != item:
                found.append(below)
        else:
            _walk(item, live_item, owned_item, below, found)
    found.extend(f"{path} {key} (no longer wanted)" for key in remaining)


def _names(key: str, item: Yaml) -> bool:
    """Whether an ownership key names an item; key fields that the server filled in may be missing."""
    value = json.loads(key[2:])
    if key.startswith("v:"):
        return bool(value == item)
    return isinstance(item, dict) and all(item.get(name, part) == part for name, part in value.items())


def same(want: Yaml, have: Yaml) -> bool:
    """Equality as the API server sees it: it drops empty fields that it does not need.

    `default` is kept by the server whatever its value, so there an absence is a difference.
    """
    if isinstance(want, dict) and isinstance(have, dict):
        return have.keys() <= want.keys() and all(
            same(value, have[key]) if key in have else not value and key != "default" for key, value in want.items()
        )
    if isinstance(want, list) and isinstance(have, list):
        return len(want) == len(have) and all(map(same, want, have))
    return want == have and isinstance(want, bool) == isinstance(have, bool)
