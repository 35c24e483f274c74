"""Fault 49 with helm as it is: what it does about each status, and that it goes on from a release that was freed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import Command, CommandError, ShCommandRunner
from bootstrap.host.objects import mapping
from bootstrap.host.orphans import RUN_VARIABLE, end_orphans
from bootstrap.host.secret import Redactor
from kube import helm
from kube.cluster import SECRET
from kube.release_states import RULES, Treatment, unlock
from tests.api import charts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bootstrap.host.commands import Daemon
    from kube.helm import Release
    from kube.lightkube_cluster import LightkubeCluster
    from tests.api.conftest import ApiServer

# Seconds for what helm does in one; a machine that tests ten other things meanwhile takes a hundred times that.
PATIENCE = 240.0
# Nobody runs Jobs here, so helm waits for this one until it is ended.
HOOK = """\
{{- if .Values.hook }}
apiVersion: batch/v1
kind: Job
metadata: {name: {{ .Release.Name }}-hook, annotations: {helm.sh/hook: "post-install,post-upgrade"}}
spec:
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: "registry.k8s.io/pause:3.10"}]}}
{{- end }}
"""


@dataclass(frozen=True)
class Helm:
    """helm and a chart, in surroundings of its own."""

    program: Path
    folder: Path
    kubeconfig: Path
    cluster: LightkubeCluster

    def upgrade(self, name: str, *words: str) -> Release:
        """Install or upgrade."""
        ShCommandRunner(Redactor()).run(self._command(name, *words))
        return self.latest(name)

    def start(self, name: str, *words: str) -> Daemon:
        """Begin to install or upgrade; over once helm's storage says that it is at work."""
        begun = ShCommandRunner(Redactor()).start(self._command(name, *words), log=self.folder / "log")
        deadline = time.monotonic() + PATIENCE
        while not self._is_pending(name):
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)
        return begun

    def latest(self, name: str) -> Release:
        found = helm.latest(self.cluster, name, "default")
        assert found is not None
        return found

    def statuses(self, name: str) -> list[str]:
        return [one.status for one in helm.history(self.cluster, name, "default")]

    def put(self, name: str, status: str) -> None:
        """Let the latest revision have a status, as helm would write it."""
        found = self.latest(name)
        secret = self.cluster.get(SECRET, helm.storage_name(name, found.revision), "default")
        assert secret is not None
        content, metadata = helm.unpacked(secret), mapping(secret, "metadata")
        content["info"] = {**mapping(content, "info"), "status": status}
        labels = {**mapping(metadata, "labels"), "status": status}
        written = self.cluster.swap({
            **secret, "metadata": {**metadata, "labels": labels}, "data": {"release": helm.packed(content)},
        })  # fmt: skip
        assert written

    def _is_pending(self, name: str) -> bool:
        found = helm.latest(self.cluster, name, "default")
        return found is not None and found.status.startswith("pending")

    def _command(self, name: str, *words: str) -> Command:
        environment = {**helm.helm_environment(self.folder / "helm"), RUN_VARIABLE: name}
        arguments = ("upgrade", "--install", name, str(self.folder / "app"), "--namespace", "default")
        return Command(
            self.program, (*arguments, "--kubeconfig", str(self.kubeconfig), *words), environment, timeout=PATIENCE
        )


@pytest.fixture
def real(tmp_path: Path, api_server: ApiServer, cluster: LightkubeCluster, programs: Callable[[str], Path]) -> Helm:
    charts.write(tmp_path)
    (tmp_path / "app" / "templates" / "hook.yaml").write_text(HOOK)
    return Helm(programs("helm"), tmp_path, api_server.kubeconfig_path, cluster)


@pytest.mark.parametrize("status", RULES)
def test_helm_does_about_each_status_what_its_rule_says(status: str, real: Helm) -> None:
    name = f"status-{status}"
    real.upgrade(name)
    real.put(name, status)
    treatment = RULES[status].treatment
    if treatment is not Treatment.GO_ON:
        with pytest.raises(CommandError) as refused:
            real.upgrade(name)
        held = "another operation (install/upgrade/rollback) is in progress"
        assert (held in refused.value.stderr) is (treatment is Treatment.UNLOCK)
        assert real.statuses(name) == [status]
    if treatment is Treatment.UNLOCK:
        assert unlock(real.cluster, real.latest(name))
        assert real.statuses(name) == ["failed"]
    if treatment is not Treatment.REFUSE:
        after = real.upgrade(name, "--set", "greeting=again")
        assert (after.revision, after.status, after.values) == (2, "deployed", {"greeting": "again"})


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade"])
def test_a_helm_that_was_killed_is_followed_by_one_that_goes_on(status: str, real: Helm) -> None:
    name = f"killed-in-{status}"
    if status == "pending-upgrade":
        real.upgrade(name)
    killed = real.start(name, "--set", "hook=true")
    os.killpg(killed.pid, signal.SIGKILL)
    left = real.latest(name)
    assert (left.status, left.deployed_by) == (status, "Helm")
    assert left.began is not None
    assert unlock(real.cluster, left)
    freed = real.latest(name)
    assert (freed.status, freed.description) == ("failed", f"Release unlocked from stale '{status}' state")
    # Without any value helm takes those of the revision from which it goes on.
    after = real.upgrade(name, "--set", "hook=false")
    assert (after.revision, after.status) == (left.revision + 1, "deployed")
    # What helm goes on from is superseded then: the deployed revision, or the failed one where none is.
    assert real.statuses(name)[:-1] == ["superseded", "failed"][: left.revision]


def test_the_helm_of_a_dead_run_is_ended_with_the_lock(real: Helm) -> None:
    """No pending release has a living helm of ours: what the run lock ends is told by the variable of its run."""
    begun = real.start("orphan", "--set", "hook=true")
    assert end_orphans("orphan", grace=PATIENCE) == (f"helm (pid {begun.pid})",)
    assert real.statuses("orphan") == ["failed"]


def test_a_helm_that_wrote_meanwhile_is_left_alone(real: Helm) -> None:
    seen = real.upgrade("alive")
    real.put("alive", "pending-upgrade")
    assert not unlock(real.cluster, seen)
    assert real.statuses("alive") == ["pending-upgrade"]
