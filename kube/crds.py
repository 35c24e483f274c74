"""Custom resource definitions: out of the charts, into the cluster, established."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bootstrap.engine.step import Observation
from bootstrap.host.commands import Command
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import Object, name_of, objects, text
from kube.cluster import CUSTOM_RESOURCE_DEFINITION, EventType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from kube.cluster import Cluster, Look, Reading
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
        InputError: there are none, or one stands twice with different content.
    """
    rendered = helmfile.runner.run(commands(helmfile, yq)[0]).stdout
    selected = helmfile.runner.run(commands(helmfile, yq, rendered)[1]).stdout
    found: dict[str, Object] = {}
    problems: list[Problem] = []
    for line in selected.splitlines():
        item = json.loads(line) if line.strip() else None
        if not isinstance(item, dict) or item.get("kind") != CUSTOM_RESOURCE_DEFINITION[1]:
            continue
        if item != found.setdefault(name_of(item), item):
            problems.append(Problem(f"{name_of(item)} stands twice with different content", str(helmfile.file)))
    if not found:
        problems.append(
            Problem(
                "no custom resource definition came out of the charts: is their switch on?",
                str(helmfile.file),
            )
        )
    if problems:
        raise InputError("the custom resource definitions are not usable", tuple(problems))
    return [found[name] for name in sorted(found)]


def served_kinds(definitions: Sequence[Object]) -> set[tuple[str, str]]:
    """API version and kind of everything that the definitions make the API serve."""
    return {
        (f"{text(item, 'spec', 'group')}/{text(version, 'name')}", text(item, "spec", "names", "kind"))
        for item in definitions
        for version in objects(item, "spec", "versions")
        if version.get("served") is True
    }


def established(cluster: Reading, names: Collection[str]) -> Look:
    """Whether all definitions of these names are established and their names accepted, by one list.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    found = {name_of(item): item for item in cluster.list_objects(CUSTOM_RESOURCE_DEFINITION)}
    return _judge(found, names)


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
    more = "" if len(waiting) <= _SHOWN else f" and {len(waiting) - _SHOWN} more"
    seen = done if not waiting else f"{done}; {'; '.join(waiting[:_SHOWN])}{more}"
    return Observation(holds=not waiting, seen=seen)
