"""JSON schemas for kubeconform, made from Kubernetes' own OpenAPI schemas and from CRDs, closed.

kubeconform's `-strict` only picks another file and refuses duplicate keys, so a misspelt field is found only when
the schema itself says `additionalProperties: false`. The API server drops unknown fields of structural schemas
and ignores nulls of optional ones; so here unknown is refused and null of an optional field is allowed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import Object, flag, mapping, objects, sequence, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from bootstrap.host.yaml_io import Yaml

# Served wherever there are definitions, small, and it describes the metadata that every object has.
_METADATA_VERSION: Final = "apiextensions.k8s.io/v1"
# Draft 4, because OpenAPI's `exclusiveMinimum` is a boolean as there.
_DRAFT: Final = "http://json-schema.org/draft-04/schema#"
# What kubeconform fills in is described in its pkg/registry (v0.7.0): the group of the core is its version.
FILE_TEMPLATE: Final = "{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json"
_REFERENCE: Final = "#/components/schemas/"
_OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
# What may be text or a number, which kubeconform says more plainly of one type than of several.
_LOOSE: Final[dict[str, Object]] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}
_PRESERVES: Final = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"
_EMBEDDED: Final = "x-kubernetes-embedded-resource"


def file_name(api_version: str, kind: str) -> str:
    """Where kubeconform looks for a kind."""
    group, _, version = api_version.rpartition("/")
    return f"{kind.lower()}-{group or version}-{version}.json"


def own_versions(kinds: Iterable[tuple[str, str]], definitions: Sequence[Object]) -> frozenset[str]:
    """The API versions whose schemas Kubernetes itself has to tell.

    Args:
        kinds: API version and kind of everything to be validated.
        definitions: CustomResourceDefinitions, which describe their own.
    """
    groups = {text(definition, "spec", "group") for definition in definitions}
    versions = {version for version, _ in kinds if "/" not in version or version.rpartition("/")[0] not in groups}
    return frozenset({*versions, _METADATA_VERSION})


def write(folder: Path, kinds: Iterable[tuple[str, str]], *, openapi: Object, definitions: Sequence[Object]) -> None:
    """Write a schema for each kind that is known; kubeconform itself refuses the others.

    Args:
        folder: where to; made when it is missing.
        kinds: API version and kind of everything to be validated.
        openapi: the schemas of `own_versions` by name, of OpenAPI v3.
        definitions: CustomResourceDefinitions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for api_version, kind in sorted(set(kinds)):
        schema = _of_definition(api_version, kind, definitions, openapi) or _of_openapi(api_version, kind, openapi)
        if schema is not None:
            (folder / file_name(api_version, kind)).write_text(json.dumps(schema))


def _of_openapi(api_version: str, kind: str, openapi: Object) -> Object | None:
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": kind}
    for name, definition in openapi.items():
        if wanted in sequence(definition, "x-kubernetes-group-version-kind"):
            return {"$schema": _DRAFT, **_Inliner(openapi).definition(name)}
    return None


class _Inliner:
    """Puts definitions where they are named: kubeconform says where a field is wrong only without references.

    A definition that names itself (the schema inside a CRD) is open from the second time on: the API server's
    own answer to such an object is the better judge.
    """

    def __init__(self, openapi: Object) -> None:
        self._schemas = openapi
        self._inside: list[str] = []

    def definition(self, name: str) -> Object:
        """A definition, closed."""
        if name in _LOOSE:
            return _LOOSE[name]
        if name in self._inside:
            return {}
        self._inside.append(name)
        closed = _closed(mapping(self._schemas, name), empty_is_open=True, named=self.definition)
        self._inside.pop()
        return closed


def _of_definition(api_version: str, kind: str, definitions: Sequence[Object], openapi: Object) -> Object | None:
    group, _, version = api_version.rpartition("/")
    for definition in definitions:
        if (text(definition, "spec", "group"), text(definition, "spec", "names", "kind")) != (group, kind):
            continue
        for served in objects(definition, "spec", "versions"):
            if text(served, "name") == version and flag(served, "served"):
                return _custom_resource(mapping(served, "schema", "openAPIV3Schema"), openapi)
    return None


def _custom_resource(schema: Object, openapi: Object) -> Object:
    closed = _closed(schema, empty_is_open=False, named=lambda _: {})
    properties = mapping(closed, "properties")
    properties.update({"apiVersion": {"type": "string"}, "kind": {"type": "string"}})
    properties["metadata"] = _Inliner(openapi).definition(_OBJECT_META)
    return {"$schema": _DRAFT, **closed, "properties": properties}


def _closed(schema: Object, *, empty_is_open: bool, named: Callable[[str], Object]) -> Object:
    """A schema that refuses what it does not name.

    What stands under allOf, anyOf, oneOf and not only adds conditions and is left as it is.

    Args:
        schema: of OpenAPI v3, or the structural one of a CRD.
        empty_is_open: whether an object without properties takes anything (Kubernetes' own types do, the API
            server empties those of a CRD).
        named: gives the definition of a name.
    """
    # Beside a reference nothing may stand, so a field with a default has it as the only part of an allOf.
    parts = objects(schema, "allOf")
    reference = text(parts[0] if len(parts) == 1 else schema, "$ref")
    if reference:
        return named(reference.removeprefix(_REFERENCE))

    def below(part: Object) -> Object:
        return _closed(part, empty_is_open=empty_is_open, named=named)

    result = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "default"}
    if flag(schema, _INT_OR_STRING) or schema.get("format") == "int-or-string":
        return {key: value for key, value in result.items() if key not in {"type", "format", "anyOf"}} | {
            "type": ["string", "integer"]
        }
    if "properties" in schema:
        result["properties"] = _properties(schema, below)
    if isinstance(schema.get("items"), dict):
        result["items"] = below(mapping(schema, "items"))
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = below(mapping(schema, "additionalProperties"))
    elif _is_closed(schema, empty_is_open=empty_is_open):
        result["additionalProperties"] = False
    if flag(schema, "nullable"):
        result = _or_null(result)
    return result


def _properties(schema: Object, below: Callable[[Object], Object]) -> dict[str, Yaml]:
    required = sequence(schema, "required")
    properties = mapping(schema, "properties")
    if flag(schema, _EMBEDDED):
        properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {}, **properties}
    return {
        name: below(mapping(part)) if name in required else _or_null(below(mapping(part)))
        for name, part in properties.items()
    }


def _is_closed(schema: Object, *, empty_is_open: bool) -> bool:
    if flag(schema, _PRESERVES) or "additionalProperties" in schema:
        return False
    if "properties" in schema:
        return True
    return schema.get("type") == "object" and not empty_is_open and not flag(schema, _EMBEDDED)


def _or_null(schema: Object) -> Object:
    if not schema:
        return schema
    kinds = schema.get("type")
    if isinstance(kinds, str | list) and "enum" not in schema:
        every: list[Yaml] = [kinds] if isinstance(kinds, str) else kinds
        return {**schema, "type": every if "null" in every else [*every, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
