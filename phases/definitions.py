"""The charts' definitions: what people expect of them, and the controllers that they must fit."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import name_of, objects, text
from checks import rendering
from gitops.releases import releases
from kube.crd_audit import audit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from bootstrap.host.objects import Object
    from gitops.releases import CoreRelease
    from gitops.tree import Tree

HELMFILE: Final = "00-crds.yaml"
EXPECTED: Final = "bootstrap/expected-crds.yaml"
_HELMFILE: Final = f"bootstrap/helmfile.d/{HELMFILE}"
# A value that helmfile fills in, from the tree: it cannot differ from it.
_TEMPLATE: Final = "{{"


def judge(root: Path, cluster: str, tree: Tree, definitions: Sequence[Object]) -> tuple[Problem, ...]:
    """Everything that is wrong with the definitions that the charts bring; empty when nothing is.

    Args:
        root: the repository.
        cluster: whose definitions they are.
        tree: of the same cluster, with the controllers.
        definitions: of the charts.

    Raises:
        InputError: the file with what is expected is not usable.
    """
    return (*audit(definitions, expected(root), cluster=cluster, source=EXPECTED), *disagreements(root, tree))


def expected(root: Path) -> bytes:
    """The content of the file with what is expected; empty when there is none."""
    path = root / EXPECTED
    return path.read_bytes() if path.exists() else b""


def disagreements(root: Path, tree: Tree) -> tuple[Problem, ...]:
    """Charts without a version, and those whose version is not that of the controller from the same chart.

    Raises:
        InputError: the helmfile or a release of the tree is not usable.
    """
    controllers = {_chart_name(one.chart): one for one in releases(tree)}
    problems: list[Problem] = []
    for bundle, place in _bundles(root):
        wrong = _disagreement(bundle, controllers.get(_chart_name(text(bundle, "chart"))))
        if wrong:
            problems.append(Problem(wrong, _HELMFILE, place.line, place.column))
    return tuple(problems)


def unrendered(root: Path, said: str) -> tuple[Problem, ...]:
    """Every chart of definitions that helm failed for, where its version stands; empty when none could be read.

    Args:
        root: the repository.
        said: standard error of helmfile.

    Raises:
        InputError: the helmfile is not usable.
    """
    places = {text(bundle, "name"): place for bundle, place in _bundles(root)}
    found = [
        Problem(f"the definitions of {name}: {words}", _HELMFILE, places[name].line, places[name].column)
        for name, words in rendering.failures(said)
        if name in places
    ]
    return tuple(dict.fromkeys(found))


def refuse(problems: Sequence[Problem]) -> None:
    """End here when something is wrong.

    Raises:
        InputError: with all problems.
    """
    if problems:
        fact = "the custom resource definitions are not those that are expected"
        raise InputError(fact, tuple(problems), remedy=f"review what the charts bring; crds.expect renews {EXPECTED}")


def refuse_unknown(forced: Collection[str], definitions: Sequence[Object]) -> None:
    """End here when a definition whose conflicts are to be forced is none of the charts'.

    Raises:
        InputError: with the nearest names.
    """
    known = sorted(map(name_of, definitions))
    problems = []
    for name in sorted(set(forced) - set(known)):
        near = difflib.get_close_matches(name, known, n=1)
        problems.append(Problem(f"no chart brings the definition {name}{f'; nearest: {near[0]}' if near else ''}"))
    if problems:
        raise InputError("--force-conflicts names what is not there", tuple(problems))


def _bundles(root: Path) -> Iterator[tuple[Object, yaml_io.Position]]:
    """Each release of the helmfile, and where its version stands, or itself where it has none."""
    content = (root / _HELMFILE).read_bytes()
    for number, document in enumerate(yaml_io.load_all(content, source=_HELMFILE)):
        positions = yaml_io.positions(content, source=_HELMFILE, document=number)
        for index, bundle in enumerate(objects(document, "releases")):
            yield bundle, positions.get(("releases", index, "version")) or positions["releases", index]


def _disagreement(bundle: Object, controller: CoreRelease | None) -> str:
    """What is wrong with the version of a chart of definitions; empty when nothing is."""
    name, version = text(bundle, "name"), text(bundle, "version")
    if not version:
        return f"the definitions of {name} come from a chart without a version"
    if controller is None or _TEMPLATE in version or version.removeprefix("v") == controller.version.removeprefix("v"):
        return ""
    runs = f"{controller.namespace}/{controller.name} runs the controller of {controller.version}"
    return f"the definitions of {name} are of {version}, and {runs}"


def _chart_name(chart: str) -> str:
    return chart.rpartition("/")[2]
