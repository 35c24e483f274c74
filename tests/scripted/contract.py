"""What holds this ring against the lab: the same commands of talosctl and helm must say the same in both.

`QUESTIONS` are asked in a cluster that Flux runs, `IN_MAINTENANCE` of a machine before it is configured. Names,
addresses and times differ, and are not compared; nor are the lab's services that nobody here reads.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bootstrap.host.objects import dig
from bootstrap.host.yaml_io import load_all
from talos import lookup
from talos.errors import classify, summary
from talos.resources import disk, json_values, link, route, rows, times, volume

if TYPE_CHECKING:
    from collections.abc import Callable

# An address of the cluster's own network at which there is no machine.
NOBODY = "10.25.13.99"
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
# A machine that goes on from a snapshot is behind by the age of it, minutes, until it asks for the time again.
_SAME_SECONDS = 3600.0
# What the tool reads of `talosctl service`.
_SERVICES = ("apid", "etcd", "kubelet")


class Said(NamedTuple):
    """What a program said: its exit code, standard output and error."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Question:
    """One command.

    Attributes:
        name: what it is about.
        words: of the command line; `NODE` is the address of the control plane, `MAINTENANCE` the one that it has
            before it is configured.
        essence: what must be the same.
    """

    name: str
    words: tuple[str, ...]
    essence: Callable[[Said], Any]


def contract(
    run_real: Callable[[Question], Said],
    run_scripted: Callable[[Question], Said],
    questions: tuple[Question, ...] | None = None,
) -> list[str]:
    """Ask both worlds the same.

    Args:
        run_real: asks the lab.
        run_scripted: asks this ring.
        questions: which; None for `QUESTIONS`.

    Returns:
        Each difference, one line; empty when the contract holds.
    """
    found: list[str] = []
    for question in QUESTIONS if questions is None else questions:
        real, scripted = run_real(question), run_scripted(question)
        ours, theirs = _essence(question, real), _essence(question, scripted)
        if ours != theirs:
            found.append(f"{question.name}: the lab says {ours}, the scripted ring says {theirs}")
    return found


def _essence(question: Question, said: Said) -> Any:
    return said.exit_code, question.essence(said)


def _services(said: Said) -> Any:
    rows = [line.split() for line in said.stdout.splitlines()[1:]]
    return sorted((row[1], row[2], row[3]) for row in rows if row[1] in _SERVICES)


def _members(said: Said) -> Any:
    header, *rows = (re.split(r" {2,}", line.strip()) for line in said.stdout.splitlines())
    names = [_ADDRESS.sub("ADDRESS", " ".join(cell for cell in row[2:])) for row in rows]
    return header, names


def _failure(said: Said) -> Any:
    """The kind decides what the tool does; the words are what a person is shown."""
    text = said.stderr or said.stdout
    return classify(text).value, _ADDRESS.sub("ADDRESS", summary(text))


def _kind(said: Said) -> Any:
    """For a race in the node that gives one of two texts."""
    return classify(said.stderr or said.stdout).value


def _specs(said: Said) -> list[tuple[str, Any]]:
    return [(one["metadata"]["id"], one["spec"]) for one in json_values(said.stdout)]


def _links(said: Said) -> Any:
    """Ports and bonds; a machine has other links that nobody asked for."""
    found = [link(one) for one in json_values(said.stdout)]
    ports = [(one.driver, one.up, one.mtu) for one in found if one.permanent_address]
    return ports, [(one.name, one.up, one.mtu) for one in found if one.kind == "bond" and one.up]


def _disks(said: Said) -> Any:
    found = (disk(one) for one in json_values(said.stdout))
    return [(one.path, one.size, one.transport, one.rotational) for one in found if one.writable and one.size]


def _partitions(said: Said) -> Any:
    found = (volume(one) for one in json_values(said.stdout))
    return sorted((one.label, one.disk) for one in found if one.partition)


def _default_route(said: Said) -> Any:
    found = (route(one) for one in json_values(said.stdout))
    return [(one.gateway, one.link) for one in found if not one.destination and one.gateway]


def _configured(said: Said) -> Any:
    """The specification is one text: the documents as they were applied."""
    (text,) = (spec for _, spec in _specs(said))
    machine = load_all(text.encode(), source="machineconfig")[0]
    return dig(machine, "machine", "type"), dig(machine, "machine", "network", "hostname")


def _bond(said: Said) -> Any:
    found = [line for line in said.stdout.splitlines() if line.startswith(("Bonding Mode", "MII Status"))]
    return found, said.stdout.count("Slave Interface:"), said.stdout.count("Permanent HW addr:")


def _same_clock(said: Said) -> Any:
    (row,) = rows(said.stdout)
    found = times(row)
    return found.server, abs((found.node - found.reference).total_seconds()) < _SAME_SECONDS


def _is_uuid(said: Said) -> Any:
    return bool(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n?", said.stdout))


def _names(said: Said) -> Any:
    return sorted(row["NAME"] for row in rows(said.stdout))


def _way(said: Said) -> Any:
    """What a node makes of a name."""
    way = lookup.read(said.stderr)
    return way.address, way.resolves, way.is_there


def _is_positive(key: str) -> Callable[[Said], Any]:
    return lambda said: sum(int(spec.get(key, 0)) for _, spec in _specs(said)) > 0


def _bootstraps(said: Said) -> Any:
    return said.stdout.count("Bootstrap requested")


def _releases(said: Said) -> Any:
    """Flux adds a revision when it takes over, and one more when it lost its own record of that."""
    return sorted(
        (one["namespace"], one["name"], int(one["revision"]) > 1, one["status"], one["chart"])
        for one in json.loads(said.stdout)
    )


def _secured(name: str, *words: str, essence: Callable[[Said], Any]) -> Question:
    return Question(name, ("talosctl", *words, "--nodes=NODE", "--endpoints=NODE"), essence)


def _get(name: str, kind: str, *, essence: Callable[[Said], Any]) -> Question:
    return _secured(name, "get", *kind.split(), "--output=json", essence=essence)


def _insecure(name: str, kind: str, *, essence: Callable[[Said], Any]) -> Question:
    return Question(name, ("talosctl", "get", kind, "--output=json", "--insecure", "--nodes=MAINTENANCE"), essence)


QUESTIONS = (
    _secured("services of a control plane", "service", essence=_services),
    _secured("members of etcd", "etcd", "members", essence=_members),
    _secured("a second bootstrap", "bootstrap", essence=_failure),
    Question(
        "a configuration without certificates for a configured machine",
        ("talosctl", "apply-config", "--file=talos/base.yaml", "--insecure", "--nodes=NODE"),
        _kind,
    ),
    Question(
        "an address without a machine",
        ("talosctl", "service", f"--nodes={NOBODY}", f"--endpoints={NOBODY}"),
        _kind,
    ),
    _get("ports and bonds", "links", essence=_links),
    _get("disks", "disks", essence=_disks),
    _get("partitions", "discoveredvolumes", essence=_partitions),
    _get("the default route", "routes", essence=_default_route),
    _get("the release of Talos", "version", essence=_specs),
    _get("the stage of a machine", "machinestatus", essence=lambda said: _specs(said)[0][1]["stage"]),
    _get("whether the clock is in sync", "timestatus", essence=lambda said: _specs(said)[0][1]["synced"]),
    _get("the machine configuration", "machineconfig v1alpha1", essence=_configured),
    _secured("the clock", "time", essence=_same_clock),
    _secured("the address of the endpoint", "time", "--check=lab-k8s.monosense.io", essence=_way),
    _secured("a name that nobody knows", "time", "--check=nobody.invalid", essence=_way),
    _secured("etcd's data directory", "list", "/var/lib/etcd", essence=_names),
    _secured("the id of the boot", "read", "/proc/sys/kernel/random/boot_id", essence=_is_uuid),
    _secured("the kernel's view of a bond", "read", "/proc/net/bonding/bond0", essence=_bond),
    _secured("a bond that is not there", "read", "/proc/net/bonding/bond9", essence=_kind),
    _secured("the bootstrap in the kernel's log", "dmesg", essence=_bootstraps),
    Question("releases", ("helm", "list", "--all-namespaces", "--all", "--output=json"), _releases),
)
IN_MAINTENANCE = (
    _insecure("ports", "links", essence=lambda said: _links(said)[0]),
    _insecure("disks", "disks", essence=_disks),
    _insecure("partitions of an empty disk", "discoveredvolumes", essence=_partitions),
    _insecure("the release of Talos", "version", essence=_specs),
    _insecure("the stage of a machine", "machinestatus", essence=lambda said: _specs(said)[0][1]["stage"]),
    _insecure("memory", "memorymodules", essence=_is_positive("sizeMiB")),
    _insecure("processors", "processors", essence=_is_positive("threadCount")),
    _insecure("a configuration that is not there", "machineconfig", essence=_failure),
)
