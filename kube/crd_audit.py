"""Whether the charts bring exactly the definitions that people reviewed: `bootstrap/expected-crds.yaml`.

The file holds, for each cluster, what it must come to: `<group>/<kind>: [<served versions>]`. A switch of a chart that
is off, a chart that grew, and a version that is served no longer are all seen before the cluster is touched.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final, TypeAlias

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import Object, flag, mapping, objects, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.host.yaml_io import Position

# Served versions by `<group>/<kind>`.
Served: TypeAlias = "dict[str, tuple[str, ...]]"

HEADER: Final = """\
# The custom resource definitions that the charts of bootstrap/helmfile.d/00-crds.yaml must bring, by cluster:
# group and kind, and the versions that the API serves afterwards. Written by `./invoke crds.expect --cluster
# <cluster>`; whoever reviews the difference decides whether it is meant.
"""


def served_versions(definitions: Sequence[Object]) -> Served:
    """What definitions make the API serve, in the order of group and kind."""
    found = {
        f"{text(item, 'spec', 'group')}/{text(item, 'spec', 'names', 'kind')}": tuple(
            text(version, "name") for version in objects(item, "spec", "versions") if flag(version, "served")
        )
        for item in definitions
    }
    return dict(sorted(found.items()))


def audit(definitions: Sequence[Object], content: bytes, *, cluster: str, source: str) -> tuple[Problem, ...]:
    """Every difference between what the charts bring and what is expected of them; empty when there is none.

    Args:
        definitions: of the charts.
        content: the file with what is expected.
        cluster: whose part of it.
        source: the file's name for messages.

    Raises:
        InputError: the file is not YAML of its form.
    """
    expected, positions = _read(content, cluster, source)
    found = served_versions(definitions)
    problems: list[Problem] = []
    for name in sorted(expected.keys() | found.keys()):
        wanted, has = expected.get(name), found.get(name)
        place = positions.get((cluster, name)) or positions.get((cluster,))
        line, column = (place.line, place.column) if place else (0, 0)
        if has is None:
            near = difflib.get_close_matches(name, found.keys() - expected.keys(), n=1)
            hint = f"; nearest: {near[0]}" if near else ""
            problems.append(Problem(f"{name} is expected, and no chart brings it{hint}", source, line, column))
        elif wanted is None:
            problems.append(Problem(f"{name} ({', '.join(has)}) is not expected", source, line, column))
        elif sorted(wanted) != sorted(has):
            words = f"{name} is to be served as {', '.join(wanted) or 'nothing'}; found {', '.join(has) or 'nothing'}"
            problems.append(Problem(words, source, line, column))
    return tuple(problems)


def renewed(content: bytes, definitions: Sequence[Object], *, cluster: str, source: str) -> str:
    """The file with what is expected, one cluster's part made anew.

    Raises:
        InputError: the file is not YAML.
    """
    known = mapping(yaml_io.load(content, source=source))
    known[cluster] = {name: list(versions) for name, versions in served_versions(definitions).items()}
    parts = [f"{HEADER}---\n", *(_section(name, mapping(known, name)) for name in sorted(known))]
    return "".join(parts)


def _section(cluster: str, expected: Object) -> str:
    lines = [f"  {name}: [{', '.join(map(str, _texts(versions)))}]\n" for name, versions in expected.items()]
    return f"{cluster}:\n{''.join(lines)}"


def _read(content: bytes, cluster: str, source: str) -> tuple[Served, Mapping[tuple[str | int, ...], Position]]:
    document = mapping(yaml_io.load(content, source=source))
    if not mapping(document, cluster):
        remedy = f"./invoke crds.expect --cluster {cluster}"
        problem = Problem(f"no definition is expected of the cluster {cluster}", source, remedy=remedy)
        raise InputError("the definitions cannot be judged", (problem,))
    expected = {name: _texts(versions) for name, versions in mapping(document, cluster).items()}
    return expected, yaml_io.positions(content, source=source)


def _texts(value: yaml_io.Yaml) -> tuple[str, ...]:
    return tuple(str(part) for part in value) if isinstance(value, list) else ()
