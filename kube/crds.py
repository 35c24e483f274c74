"""Custom resource definitions: out of the charts, into the cluster, established."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bootstrap.engine.step import Observation
from bootstrap.host.commands import Command
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import Object, mapping, name_of, objects, text
from kube.cluster import CUSTOM_RESOURCE_DEFINITION, EventType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from kube.cluster import Cluster, KindRef, Look
    from kube.helmfile import Helmfile

# Parsed as documents, because charts print kinds quoted and lines of 200 kB; JSON, because it is read 50
# times faster than YAML of that size.
SELECT: Final = 'select(.kind == "CustomResourceDefinition")'
_SELECT_SECONDS: Final = 60.0
# Names shown of those that are still missing.
_SHOWN: Final = 3


def commands(helmfile: Helmfile, yq: Path, rendered: bytes = b"") -> tuple[Command, Command]:
    """The two halves of `helmfile template | yq ea 'select(.kind == "CustomResourceDefinition")'`.

    Args:
        helmfile: `00-crds.yaml` for a cluster.
        yq: mikefarah's yq 4.
        rendered: what the first half printed.
    """
    select = Command(
        program=yq,
        arguments=("eval-all", "--output-format=json", "--indent=0", SELECT, "-"),
        stdin=rendered,
        timeout=_SELECT_SECONDS,
    )
    return helmfile.template_command(include_crds=True), select


def extract(helmfile: Helmfile, yq: Path) -> list[Object]:
    """The custom resource definitions that the charts of a helmfile bring, by name.

    Raises:
        CommandError: helmfile or yq failed.
        InputError: there are none, one stands twice with different content, or something else came through the
            filter; all of it at once.
    """
    return parsed(selected(helmfile, yq), str(helmfile.file))


def selected(helmfile: Helmfile, yq: Path) -> bytes:
    """What comes out of both halves: one definition a line, as JSON.

    Raises:
        CommandError: helmfile or yq failed.
    """
    rendered = helmfile.runner.run(commands(helmfile, yq)[0]).stdout
    return helmfile.runner.run(commands(helmfile, yq, rendered)[1]).stdout


def parsed(output: bytes, file: str) -> list[Object]:
    """The definitions out of `selected`, by name.

    Args:
        output: one JSON document a line.
        file: the helmfile that they come from.

    Raises:
        InputError: as `extract`.
    """
    found: dict[str, Object] = {}
    wrong: list[str] = []
    for line in output.splitlines():
        if not line.strip():
            continue
        item = _parsed(line)
        if problem := _problem(item):
            wrong.append(problem)
        elif item != found.setdefault(name_of(item), item):
            wrong.append(f"{name_of(item)} stands twice with different content")
    if not found:
        wrong.append("no custom resource definition came out of the charts: is their switch on?")
    if wrong:
        problems = tuple(Problem(each, file) for each in wrong)
        raise InputError("the custom resource definitions are not usable", problems)
    return [found[name] for name in sorted(found)]


def _parsed(line: bytes) -> Object:
    try:
        return mapping(json.loads(line))
    except ValueError:
        return {}


def _problem(item: Object) -> str:
    """Why a document is no definition that can be applied; empty when it is one."""
    kind = (text(item, "apiVersion"), text(item, "kind"))
    if kind != CUSTOM_RESOURCE_DEFINITION:
        what = f"{kind[0]} {kind[1]} {name_of(item)}".strip() or "a document that is no object"
        return f"{what} came through the filter, and only {' '.join(CUSTOM_RESOURCE_DEFINITION)} may"
    wanted = f"{text(item, 'spec', 'names', 'plural')}.{text(item, 'spec', 'group')}"
    return "" if name_of(item) == wanted else f"the definition {name_of(item)!r} would have to be named {wanted}"


def served_kinds(definitions: Iterable[Object]) -> set[KindRef]:
    """API version and kind of everything that the definitions make the API serve."""
    return {
        (f"{text(item, 'spec', 'group')}/{text(version, 'name')}", text(item, "spec", "names", "kind"))
        for item in definitions
        for version in objects(item, "spec", "versions")
        if version.get("served") is True
    }


def served(cluster: Cluster, definitions: Iterable[Object]) -> Look:
    """Whether discovery, read anew, has every kind in every version that the definitions serve.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    wanted = served_kinds(definitions)
    missing = sorted(f"{version} {kind}" for version, kind in wanted - cluster.discover())
    return Observation(
        holds=not missing,
        seen=f"{len(wanted) - len(missing)} of {len(wanted)} kinds served" + _named(missing, " is not served"),
    )


def established(found: Iterable[Object], names: Collection[str]) -> Look:
    """Whether all definitions of these names are established and their names accepted.

    Args:
        found: live definitions, others among them.
        names: of those that count.
    """
    return _judge({name_of(item): item for item in found}, names)


def watch_established(cluster: Cluster, names: Collection[str], *, seconds: float) -> Iterator[Look]:
    """The same by one list and one watch: an observation after every change, and every few seconds.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    found: dict[str, Object] = {}
    listed = False
    for event in cluster.watch(CUSTOM_RESOURCE_DEFINITION, seconds=seconds):
        listed = listed or event.type is EventType.IDLE
        if event.type is EventType.DELETED:
            found.pop(name_of(event.item), None)
        elif event.type is not EventType.IDLE:
            found[name_of(event.item)] = event.item
        if listed:
            yield _judge(found, names)


def _judge(found: Mapping[str, Object], names: Collection[str]) -> Look:
    waiting: list[str] = []
    for name in sorted(names):
        conditions = {
            text(condition, "type"): condition for condition in objects(found.get(name, {}), "status", "conditions")
        }
        if name not in found:
            waiting.append(f"{name} is not there")
        elif text(conditions.get("NamesAccepted", {}), "status") == "False":
            waiting.append(f"{name}: names not accepted: {text(conditions['NamesAccepted'], 'message')}")
        elif text(conditions.get("Established", {}), "status") != "True":
            waiting.append(f"{name} is not established")
    done = f"{len(names) - len(waiting)} of {len(names)} established"
    return Observation(holds=not waiting, seen=done + _named(waiting))


def _named(missing: Sequence[str], what: str = "") -> str:
    more = "" if len(missing) <= _SHOWN else f" and {len(missing) - _SHOWN} more"
    return "".join(f"; {each}{what}" for each in missing[:_SHOWN]) + more
