"""Programs in the model: they act on it and answer with what the real ones said."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.host import yaml_io
from bootstrap.host.commands import Command, CommandError, Result
from bootstrap.host.objects import mapping, objects, text
from phases.refs import CORE_RELEASES
from tests.scripted.answers import Answer, unknown
from tests.scripted.helm import HelmError, json_of
from tests.scripted.model import Effect
from tests.scripted.node_answers import NodeAnswers
from tests.scripted.recordings import Recordings, build_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.secret import Redactor
    from inventory.model import Cluster
    from tests.scripted.ring import Ring

PROGRAMS = ("git", "helm", "helmfile", "kubeconform", "kustomize", "talosctl", "yq")


class ScriptedRunner:
    """A `CommandRunner` whose programs act on a world.

    Args:
        root: the repository that the run works in.
        cluster: of its inventory.
        ring: the world.
        redactor: masks a failed program's output.
    """

    def __init__(self, root: Path, cluster: Cluster, ring: Ring, redactor: Redactor) -> None:
        self._root = root
        self._model = ring.model
        self._machines = ring.machines
        self._releases = ring.releases
        self._redactor = redactor
        self._programs: dict[str, Callable[[Command, list[str]], Answer]] = {
            "git": self._git,
            "helm": self._helm,
            "helmfile": self._helmfile,
            "kubeconform": lambda _, __: Answer(stdout=json.dumps({"resources": []})),
            "kustomize": self._kustomize,
            "talosctl": NodeAnswers(cluster, ring).answer,
            "yq": lambda _, __: Answer(stdout=Recordings().text("definitions.jsonl")),
        }

    def run(self, command: Command) -> Result:
        """See `CommandRunner.run`."""
        words = [word for word in command.arguments if isinstance(word, str)]
        answer = self._programs[command.program.name](command, words)
        if answer.exit_code in command.allowed:
            return Result(answer.exit_code or 0, answer.stdout.encode(), answer.stderr.encode(), 0.0)
        stdout, stderr = self._redactor.redact(answer.stdout), self._redactor.redact(answer.stderr)
        timed_out = answer.exit_code is None
        lines = [line for line in stderr.splitlines() if line.strip()]
        raise CommandError(
            f"`{command}` " + ("gave no answer" if timed_out else f"failed with exit code {answer.exit_code}"),
            cause=lines[-1].strip() if lines else "it printed nothing", stdout=stdout, stderr=stderr,
            exit_code_seen=answer.exit_code, timed_out=timed_out,
        )  # fmt: skip

    def _git(self, _: Command, words: list[str]) -> Answer:
        commit = self._model.get("commit")
        return Answer(stdout={"status": "", "rev-parse": f"{commit}\n"}.get(words[2], f"{commit}\trefs/heads/main\n"))

    def _kustomize(self, _: Command, words: list[str]) -> Answer:
        # A Kustomization with patches of its own is built in a copy of the tree.
        path = words[-1].partition("/kubernetes/")[2]
        return Answer(stdout=Recordings().text(build_name(f"kubernetes/{path}")))

    def _helm(self, command: Command, words: list[str]) -> Answer:
        if words[0] != "list":
            raise unknown(command)
        with self._model.look():
            histories = [self._releases.history(one.name) for one in CORE_RELEASES]
            newest = [json_of(history[-1]) for history in histories if history]
        listed = []
        for release in newest:
            chart = release["chart"]["metadata"]
            listed.append({
                "name": release["name"], "namespace": release["namespace"], "revision": str(release["version"]),
                "status": release["info"]["status"], "chart": f"{chart['name']}-{chart['version']}",
            })  # fmt: skip
        return Answer(stdout=json.dumps(listed))

    def _helmfile(self, command: Command, words: list[str]) -> Answer:
        if "template" in words:
            crds = "--include-crds" in words
            return Answer(stdout=Recordings().text("definitions.jsonl" if crds else "releases.yaml"))
        if "sync" not in words:
            raise unknown(command)
        if self._model.get("helm fails"):
            return Answer(1, stderr=f"{self._model.get('helm fails')}\n")
        return self._sync(command, words)

    def _sync(self, command: Command, words: list[str]) -> Answer:
        name = words[words.index("--selector") + 1].partition("=")[2]
        values = Path(command.environment["FIRSTLIGHT_CORE"]) / f"{name}.yaml"
        with self._model.look():
            refused = self._refused_access(Path(words[words.index("--kubeconfig") + 1]))
            if refused:
                return Answer(1, stderr=f"Error: {refused}\n")
            try:
                document = mapping(yaml_io.load(values.read_bytes(), source=values.name))
                self._releases.begin(name, document, writer="Helm")
            except HelmError as error:
                return Answer(1, stderr=f"Error: {error}\n")
        # Here the real one can be killed: the storage says that it is at work, and a part of the objects is there.
        self._model.done(Effect("begun", name, os.getpid()))
        with self._model.look():
            if self._model.get("helm dies") == name:
                self._model.put("helm dies", "")
                return Answer(1, stderr="signal: killed\n")
            self._releases.finish(name)
            effect = self._model.effect("sync", f"{name} at {self._model.get('api')['cluster']}")
        self._model.done(effect)
        return Answer()

    def _refused_access(self, kubeconfig: Path) -> str:
        """Why the API server that a kubeconfig names does not take it; empty when it does."""
        document = yaml_io.load(kubeconfig.read_bytes(), source=kubeconfig.name)
        (cluster,) = objects(document, "clusters")
        address = text(cluster, "cluster", "server").removeprefix("https://").partition(":")[0]
        machine = self._machines.at(address)
        if machine is None or not machine["api"]:
            return f"Kubernetes cluster unreachable: dial tcp {address}:6443: connect: connection refused"
        if machine["kubernetes"] != text(cluster, "cluster", "certificate-authority-data"):
            return "Kubernetes cluster unreachable: tls: failed to verify certificate: x509: unknown authority"
        return ""
