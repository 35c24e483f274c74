"""What holds this ring against the lab: the same commands of talosctl and helm must say the same in both.

Names, addresses and times differ, and are not compared; nor are the lab's services that nobody here reads.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from talos.errors import classify, summary

if TYPE_CHECKING:
    from collections.abc import Callable

# An address of the cluster's own network at which there is no machine.
NOBODY = "10.25.13.99"
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
# What the tool reads of `talosctl service`.
_SERVICES = ("apid", "etcd", "kubelet")


class Said(NamedTuple):
    """What a program said: its exit code, standard output and error."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Question:
    """One command, in a cluster that Flux runs.

    Attributes:
        name: what it is about.
        words: of the command line; `NODE` is the address of the control plane.
        essence: what must be the same.
    """

    name: str
    words: tuple[str, ...]
    essence: Callable[[Said], Any]


def contract(run_real: Callable[[Question], Said], run_scripted: Callable[[Question], Said]) -> list[str]:
    """Ask both worlds the same.

    Returns:
        Each difference, one line; empty when the contract holds.
    """
    found: list[str] = []
    for question in QUESTIONS:
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


def _releases(said: Said) -> Any:
    return sorted(
        (one["namespace"], one["name"], one["revision"], one["status"], one["chart"]) for one in json.loads(said.stdout)
    )


QUESTIONS = (
    Question("services of a control plane", ("talosctl", "service", "--nodes=NODE", "--endpoints=NODE"), _services),
    Question("members of etcd", ("talosctl", "etcd", "members", "--nodes=NODE", "--endpoints=NODE"), _members),
    Question("a second bootstrap", ("talosctl", "bootstrap", "--nodes=NODE", "--endpoints=NODE"), _failure),
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
    Question("releases", ("helm", "list", "--all-namespaces", "--all", "--output=json"), _releases),
)
