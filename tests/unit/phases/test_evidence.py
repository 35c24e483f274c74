"""What is kept of a cluster after a failed run."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from bootstrap.engine import Done, Phase, Step
from bootstrap.engine.machine import State
from bootstrap.engine.testing import run_phases
from bootstrap.engine.verdict import Failure, PhaseResult, StepResult, Verdict
from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.errors import ExitCode, FirstlightError
from bootstrap.host.secret import Redactor, Secret
from inventory.loader import load
from phases import evidence
from phases.evidence import Gatherer, is_wanted
from phases.refs import SECRETS
from phases.world import Credentials, World
from talos.client import Talosctl
from talos.resources import ServiceState
from tests.unit.talos.recorded import Recording, Replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.objects import Object
    from kube.cluster import KindRef

ROOT = Path(__file__).resolve().parents[3]
CANARY = "hunter22-and-much-more"
FAILURE = Failure("etcd failed", "no answer", exit_code=ExitCode.TIMED_OUT)
VERDICT = Verdict("run-1", "lab", State.FAILED, (), (FAILURE,), 1.0, 2.0, 0.5, {})


@dataclass
class FakeTalosctl:
    """A machine with one service that is not well."""

    kernel: Callable[[], str] = lambda: f"[1.0] booted\n[2.0] token {CANARY}\n"
    asked: list[tuple[str, str]] = field(default_factory=list)

    def services(self, node: str, _talosconfig: Secret) -> dict[str, ServiceState]:
        self.asked.append((node, "services"))
        return {
            "apid": ServiceState("apid", "Running", healthy=True, event="Health check successful"),
            "etcd": ServiceState("etcd", "Preparing", healthy=None, event="Running pre state"),
            "udevd-trigger": ServiceState("udevd-trigger", "Finished", healthy=None, event="Service finished"),
        }

    def service_log(self, node: str, _talosconfig: Secret, service: str, *, lines: int) -> str:
        self.asked.append((node, f"{service} {lines}"))
        return f"{service} cannot pull its image"

    def kernel_log(self, _node: str, _talosconfig: Secret) -> str:
        return self.kernel()


class FakeCluster:
    """A cluster with a pod that does not start."""

    closed = 0

    def discover(self) -> frozenset[KindRef]:
        return frozenset({("v1", "Pod"), ("helm.toolkit.fluxcd.io/v2", "HelmRelease")})

    def list_objects(self, kind: KindRef, **_: object) -> list[Object]:
        ready: Object = {"type": "Ready", "status": "True", "lastTransitionTime": "T1"}
        broken: Object = {
            "type": "Ready",
            "status": "False",
            "reason": "NotReady",
            "message": f"key {CANARY}",
        }
        pulling: Object = {"waiting": {"reason": "ImagePullBackOff", "message": "429\nToo Many Requests"}}
        ended: Object = {"terminated": {"reason": "Error", "exitCode": 2}}
        container: Object = {
            "name": "agent", "image": "cilium:1", "restartCount": 3, "state": pulling, "lastState": ended,
        }  # fmt: skip
        found: dict[str, list[Object]] = {
            "Node": [{"metadata": {"name": "lab-01"}, "status": {"conditions": [ready]}}],
            "Pod": [
                {"metadata": {"name": "well", "namespace": "a"}, "status": {"phase": "Running", "conditions": [ready]}},
                {"metadata": {"name": "job", "namespace": "a"}, "status": {"phase": "Succeeded"}},
                {
                    "metadata": {"name": "cilium", "namespace": "kube-system"},
                    "spec": {"nodeName": "lab-01"},
                    "status": {"phase": "Pending", "conditions": [broken], "containerStatuses": [container]},
                },
            ],
            "Event": [
                {
                    "metadata": {"namespace": "b"},
                    "lastTimestamp": "T2",
                    "reason": "Late",
                    "involvedObject": {"name": "x"},
                },
                {"metadata": {"namespace": "b"}, "eventTime": "T1", "reason": "Early", "involvedObject": {"name": "y"}},
            ],
            "HelmRelease": [
                {
                    "metadata": {"name": "app", "namespace": "c", "generation": 4},
                    "spec": {"suspend": True},
                    "status": {"conditions": [broken]},
                }
            ],
        }
        return found[kind[1]]

    def close(self) -> None:
        self.closed += 1


@dataclass
class Scene:
    """A cluster, and what gathers its evidence."""

    folder: Path
    talosctl: FakeTalosctl = field(default_factory=FakeTalosctl)
    cluster: FakeCluster = field(default_factory=FakeCluster)
    ended: list[str] = field(default_factory=list)

    def gatherer(self, *, seconds: float = 10.0) -> Gatherer:
        redactor = Redactor()
        redactor.add(Secret(CANARY, "op://lab/x/y"))
        runner = ShCommandRunner(redactor)
        world = World(
            root=ROOT, cluster=load(ROOT, "lab"), state=self.folder, runner=runner, programs={},
            talosctl=cast("Talosctl", self.talosctl), observe=cast("Any", None),
            connect=lambda *_, **__: cast("Any", self.cluster), redactor=redactor, environment={}, trust=None,
            overlays=(), commit="", stand_ins=frozenset(),
        )  # fmt: skip
        return Gatherer(world, end_children=lambda: self.ended.append("ended"), seconds=seconds)

    def gather(self, gatherer: Gatherer, *, resolved: bool = True) -> dict[str, str]:
        """The bundle's files by name, after a run that did or did not get as far as the secrets."""
        credentials = Credentials(cast("Any", None), Secret("config", "talosconfig"), {})

        def probe(_ctx: object) -> Any:
            if not resolved:
                raise FirstlightError("the store is locked")
            return Done("resolved", credentials)

        run_phases(gatherer.follow([Phase(name="p", title="p", target=1.0, steps=(
            Step(name=SECRETS.name, title="s", probe=probe),
        ))]))  # fmt: skip
        gatherer.gather(self.folder, VERDICT)
        return {
            str(file.relative_to(self.folder)): file.read_text() for file in self.folder.rglob("*") if file.is_file()
        }


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(evidence, "kubeconfig", lambda *_: Secret("config", "kubeconfig"))
    return Scene(tmp_path / "bundle")


def test_nodes_pods_events_and_flux_are_kept(scene: Scene) -> None:
    files = scene.gather(scene.gatherer())
    assert sorted(files) == [
        "events.txt", "flux.txt", "index.txt", "lab-01/dmesg.txt", "lab-01/services.txt", "nodes.txt", "pods.txt",
    ]  # fmt: skip
    assert "etcd         Preparing  unknown    Running pre state\n" in files["lab-01/services.txt"]
    assert files["lab-01/services.txt"].endswith("--- the end of the log of etcd\netcd cannot pull its image\n")
    assert [what for _, what in scene.talosctl.asked] == ["services", "etcd 500"]
    assert files["pods.txt"] == (
        "1 pods are not ready\n"
        "kube-system/cilium: Pending on lab-01\n"
        "  Ready=False since : NotReady key [redacted]\n"
        "  agent: image cilium:1, 3 restarts; waiting ImagePullBackOff 429 Too Many Requests; "
        "before: terminated Error, exit code 2\n"
    )
    assert [line.split()[0] for line in files["events.txt"].splitlines()] == ["T1", "T2"]
    assert files["flux.txt"].startswith("HelmRelease c/app: generation 4, suspended\n  Ready=False")
    assert files["index.txt"].startswith("run run-1 of lab, exit code 5\nerror: etcd failed\n  cause: no answer\n")
    assert "not to be had" not in files["index.txt"]
    assert (scene.cluster.closed, scene.ended) == (4, [])


def test_no_secret_is_kept(scene: Scene) -> None:
    files = scene.gather(scene.gatherer())
    assert CANARY[:12] not in "".join(files.values())
    assert "token [redacted]" in files["lab-01/dmesg.txt"]
    assert all((scene.folder / name).stat().st_mode & 0o077 == 0 for name in files)


def test_what_cannot_be_had_is_named_with_its_reason(scene: Scene) -> None:
    def refuse() -> str:
        raise FirstlightError(f"talosctl dmesg failed\nwith {CANARY}", cause="connection refused")

    scene.talosctl.kernel = refuse
    files = scene.gather(scene.gatherer())
    assert "lab-01/dmesg.txt" not in files
    reason = "talosctl dmesg failed with [redacted]: connection refused"
    assert f"not to be had: lab-01/dmesg.txt: {reason}\n" in files["index.txt"]


def test_an_answer_that_does_not_come_is_not_waited_for(scene: Scene) -> None:
    never = threading.Event()
    scene.talosctl.kernel = lambda: str(never.wait())
    began = time.monotonic()
    files = scene.gather(scene.gatherer(seconds=0.3))
    never.set()
    assert time.monotonic() - began < 5.0
    assert "not to be had: lab-01/dmesg.txt: no answer within 0 s\n" in files["index.txt"]
    assert "pods.txt" in files
    assert scene.ended == ["ended"]


def test_the_end_of_a_long_answer_is_kept(scene: Scene) -> None:
    scene.talosctl.kernel = lambda: "".join(f"line {number}\n" for number in range(200_000))
    kept = scene.gather(scene.gatherer())["lab-01/dmesg.txt"]
    first, second, *_, last = kept.splitlines()
    assert first.endswith("bytes before this were left out")
    assert second.startswith("line ")
    assert last == "line 199999"
    assert len(kept) <= evidence.MOST_BYTES + len(first) + 1


def test_nothing_is_asked_before_the_secrets_are_there(scene: Scene) -> None:
    files = scene.gather(scene.gatherer(), resolved=False)
    assert list(files) == ["index.txt"]
    assert "nothing was asked: the run ended before its secrets were there to ask with\n" in files["index.txt"]
    assert scene.talosctl.asked == []


@pytest.mark.parametrize(
    ("code", "state", "wanted"),
    [
        (ExitCode.FAILED, State.FAILED, True),
        (ExitCode.TIMED_OUT, State.FAILED, True),
        (ExitCode.INVALID, State.FAILED, False),
        (ExitCode.LOCKED, State.FAILED, False),
        (ExitCode.INTERRUPTED, State.ABORTED, False),
        # A missed budget fails a run all of whose steps are done.
        (ExitCode.FAILED, State.DONE, False),
    ],
)
def test_when_it_is_wanted(code: ExitCode, state: State, *, wanted: bool) -> None:
    step = StepResult("core/cilium", "Install cilium", state, "x", 0.0, 1.0)
    phase = PhaseResult("core", "Core", 2, state, 0.0, 1.0, 2.0, (step,))
    verdict = dataclasses.replace(VERDICT, phases=(phase,), failures=(Failure("x", exit_code=code),))
    assert is_wanted(verdict) is wanted


def test_a_folder_that_cannot_be_made_breaks_nothing(scene: Scene) -> None:
    scene.folder.write_text("a file where a folder should be")
    gatherer = scene.gatherer()
    gatherer.gather(scene.folder, dataclasses.replace(VERDICT, failures=()))


def test_a_service_is_asked_for_the_end_of_its_log() -> None:
    runner = Replay([Recording(0, "one\ntwo\n", "")])
    log = Talosctl(Path("talosctl"), runner).service_log("10.5.0.11", Secret("c", "c"), "etcd", lines=2)
    assert log == "one\ntwo\n"
    assert [each for each in runner.asked[0].arguments if isinstance(each, str)] == [
        "logs", "etcd", "--tail=2", "--endpoints=10.5.0.11", "--nodes=10.5.0.11",
    ]  # fmt: skip
