"""The lab's network and internet, without a machine in it: the real supervisor in real namespaces."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host.commands import Command, CommandError
from bootstrap.host.errors import FirstlightError, InputError, LockedError
from rehearsal import control, lab, namespaces
from rehearsal.lab import Lab
from rehearsal.registry import Image, images_to_json
from rehearsal.settings import IMAGES_FILE, MODULES_FILE
from tests.lab.processes import processes_of
from tests.unit.rehearsal.bench import CHART, git, make_settings, make_worktree, runner, system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rehearsal.settings import LabSettings

CODE = Path(__file__).parents[2]
SYSTEM = ("dnsmasq", "git", "ip", "mount", "nft", "nsenter", "unshare", "zstd")
PINNED = ("helm", "registry", "talosctl")
FILES = {
    "kubernetes/clusters/lab/a.yaml": "a: 1\n",
    "lab/charts/demo/Chart.yaml": CHART,
    "lab/charts/demo/lab.yaml": "repository: oci://ghcr.io/demo/charts\n",
    "lab/charts/web/Chart.yaml": CHART.replace("demo", "web"),
    "lab/charts/web/lab.yaml": "repository: https://helm.cilium.io\n",
}
# Talks to the lab's internet as programs inside do; prints what it got as JSON.
VISITOR = """
import json, os, socket, ssl, struct, sys, urllib.request
names = sys.argv[1].split()
def resolve(name):
    try:
        return socket.gethostbyname(name)
    except OSError as error:
        return type(error).__name__
def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()
def now():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as question:
        question.settimeout(10)
        question.sendto(bytes([0x23]) + bytes(47), ("time.cloudflare.com", 123))
        return struct.unpack("!40xII", question.recv(100))[0] - 2208988800
print(json.dumps({
    "names": {name: resolve(name) for name in names}, "now": now(),
    "catalog": json.loads(fetch("https://ghcr.io/v2/_catalog")), "index": fetch("https://helm.cilium.io/index.yaml"),
    "heartbeat": json.loads(fetch(os.environ["OP_CONNECT_HOST"] + "/heartbeat")),
}))
"""


class Bench:
    """A lab without machines in a folder of its own, and a way into it."""

    def __init__(self, folder: Path, programs: Callable[[str], Path]) -> None:
        self.root = make_worktree(folder / "worktree", FILES)
        self.lab = Lab(folder)
        known = {**{name: system(name) for name in SYSTEM}, **{name: programs(name) for name in PINNED}}
        self.settings = make_settings(folder, self.root, known, machines=())
        self.reported: list[str] = []
        self.folder = folder

    def prepare(self) -> None:
        """What `rehearsal.lab.prepare` leaves for a supervisor, with one small image."""
        self.lab.folder.mkdir(parents=True)
        (self.folder / "content").write_text("content\n")
        image = Image("ghcr.io/demo/image:1", {"/content": self.folder / "content"}, ("/content",))
        (self.lab.folder / IMAGES_FILE).write_text(images_to_json([image]))
        (self.lab.folder / MODULES_FILE).write_text("{}")

    def up(self, settings: LabSettings | None = None) -> bool:
        with self.lab.starting(self.reported.append):
            if not self.lab.owner():
                self.prepare()
            return self.lab.up(settings or self.settings, runner(), self.reported.append)

    def inside(self, *command: str) -> str:
        """What a command prints inside."""
        pid = control.supervisor_pid(self.lab.socket)
        assert pid
        environment = {
            "SSL_CERT_FILE": str(self.settings.trust), "GIT_SSL_CAINFO": str(self.settings.trust),
            "OP_CONNECT_HOST": "http://opconnect.monosense.dev", "HELM_CACHE_HOME": str(self.folder / "helm"),
            "OP_CONNECT_TOKEN": str(self.lab.ask("token")), "PYTHONPATH": str(CODE),
        }  # fmt: skip
        arguments = (*namespaces.enter_arguments(pid), "--", *command)
        return runner().run(Command(system("nsenter"), arguments, environment, timeout=30)).text

    def visit(self, *names: str) -> dict[str, Any]:
        """What a visitor of the lab's internet sees."""
        seen: dict[str, Any] = json.loads(self.inside(sys.executable, "-c", VISITOR, " ".join(names)))
        return seen


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, programs: Callable[[str], Path]) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("lab"), programs)
    assert bench.up()
    yield bench
    bench.lab.down()


@pytest.fixture
def bench(tmp_path: Path, programs: Callable[[str], Path]) -> Iterator[Bench]:
    """A lab that is not started yet."""
    bench = Bench(tmp_path, programs)
    yield bench
    bench.lab.down()


def await_nothing(folder: Path) -> None:
    deadline = time.monotonic() + 20  # the kernel ends a PID namespace within milliseconds
    while left := processes_of(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


# a running lab -------------------------------------------------------------------------------------------------


def test_its_names_lead_to_it_and_nothing_else_resolves(running: Bench) -> None:
    seen = running.visit(
        "ghcr.io", "quay.io", "github.com", "helm.cilium.io", "opconnect.monosense.dev", "time.cloudflare.com",
        "lab-k8s.monosense.io", "example.com", "proxy.golang.org",
    )  # fmt: skip
    assert seen["names"] == {
        "ghcr.io": "198.18.0.2", "quay.io": "198.18.0.2", "github.com": "198.18.0.3", "helm.cilium.io": "198.18.0.3",
        "opconnect.monosense.dev": "198.18.0.4", "time.cloudflare.com": "198.18.0.5",
        "lab-k8s.monosense.io": "10.25.13.11", "example.com": "gaierror", "proxy.golang.org": "gaierror",
    }  # fmt: skip


def test_its_registry_charts_connect_and_time_answer(running: Bench) -> None:
    before = int(time.time())
    seen = running.visit()
    assert seen["catalog"]["repositories"] == ["demo/charts/demo", "demo/image"]
    assert "web-1.2.3.tgz" in seen["index"]
    assert seen["heartbeat"]["name"] == "1Password Connect API"
    assert before <= seen["now"] <= time.time() + 1


def test_helm_pulls_its_charts(running: Bench, tmp_path: Path, programs: Callable[[str], Path]) -> None:
    helm = str(programs("helm"))
    running.inside(helm, "pull", "oci://ghcr.io/demo/charts/demo", "--version=1.2.3", f"--destination={tmp_path}")
    running.inside(helm, "pull", "web", "--repo=https://helm.cilium.io", f"--destination={tmp_path}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo-1.2.3.tgz", "web-1.2.3.tgz"]


def test_git_clones_the_worktree_as_it_is_when_it_is_published(running: Bench, tmp_path: Path) -> None:
    url = "https://github.com/monosense-io/k8s-gitops.git"

    def published() -> tuple[str, str]:
        answer: Any = running.lab.ask("publish")
        assert answer["charts"] == ["demo 1.2.3", "web 1.2.3"]
        return answer["commit"], running.inside("git", "ls-remote", url, "refs/heads/main").split()[0]

    first, seen = published()
    assert seen == first
    assert published()[0] == first
    (running.root / "kubernetes" / "clusters" / "lab" / "b.yaml").write_text("b: 2\n")
    second, seen = published()
    assert second == seen != first
    running.inside("git", "clone", "--quiet", url, str(tmp_path / "clone"))
    assert (tmp_path / "clone" / "kubernetes" / "clusters" / "lab" / "b.yaml").read_text() == "b: 2\n"


def test_its_vault_holds_a_secrets_bundle(running: Bench) -> None:
    script = (
        "import os; from bootstrap.host.secret import Secret; from inventory.connect import ConnectProvider;"
        "from inventory.model import SecretReference;"
        "provider = ConnectProvider(os.environ['OP_CONNECT_HOST'], Secret(os.environ['OP_CONNECT_TOKEN'], 'token'));"
        "print(provider.read(SecretReference('op://lab/talos-lab/bundle')).decode())"
    )
    bundle = running.inside(sys.executable, "-c", script)
    assert bundle.startswith("cluster:\n")
    assert "aescbcencryptionsecret" in bundle or "secretboxencryptionsecret" in bundle.lower()


def test_nothing_of_it_is_seen_from_outside(running: Bench) -> None:
    here = runner().run(Command(system("ip"), ("-brief", "address"))).text
    assert "198.18.0" not in here
    assert "lab0" not in here
    inside = running.inside(str(system("ip")), "-brief", "address")
    assert "10.25.13.1/24" in inside


def test_a_registry_that_is_down_and_mended(running: Bench) -> None:
    running.lab.ask("fault", name="registry-down")
    with pytest.raises(CommandError, match="Connection refused"):
        running.visit()
    felt: Any = running.lab.ask("fired", name="registry-down")
    assert felt >= 1
    assert running.lab.ask("mend", name="registry-down") == felt
    assert running.visit()["catalog"]
    assert running.lab.ask("mend", name="registry-down") == 0


def test_a_clock_that_is_ahead_and_mended(running: Bench) -> None:
    running.lab.ask("fault", name="clock", seconds=86400)
    assert running.visit()["now"] > time.time() + 80000
    assert running.lab.ask("mend", name="clock") == 1
    assert running.visit()["now"] <= time.time() + 1


@pytest.mark.parametrize("request_", ["fault", "fired"])
def test_a_fault_that_does_not_exist(running: Bench, request_: str) -> None:
    with pytest.raises(FirstlightError, match='there is no fault "earthquake"'):
        running.lab.ask(request_, name="earthquake")


def test_a_snapshot_that_does_not_exist(running: Bench) -> None:
    with pytest.raises(FirstlightError, match="there is no snapshot 'core'"):
        running.lab.ask("load", name="core")


def test_it_is_joined_by_the_same_and_refused_to_others(running: Bench, tmp_path: Path) -> None:
    from dataclasses import replace

    assert running.lab.status().state == "ready"
    assert not running.up()
    with pytest.raises(InputError) as other:
        running.up(replace(running.settings, root=tmp_path))
    assert other.value.problems[0].remedy == f"{running.root}/invoke lab.down"
    with pytest.raises(InputError, match="another worktree"):
        running.up(replace(running.settings, cluster="infra"))
    with pytest.raises(InputError, match="not what the files describe"):
        running.up(replace(running.settings, inputs="1"))
    assert running.lab.status().running


# beginnings and ends -------------------------------------------------------------------------------------------


def test_nothing_is_left_when_it_ends(bench: Bench) -> None:
    assert not bench.lab.down()
    assert bench.up()
    assert processes_of(bench.lab.folder)
    assert bench.lab.down()
    await_nothing(bench.lab.folder)
    assert not bench.lab.folder.exists()
    assert bench.lab.status().state == "down"
    assert bench.settings.registry_base.exists()  # images are kept for the next one
    assert bench.up()
    assert bench.visit()["catalog"]["repositories"] == ["demo/charts/demo", "demo/image"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_when_the_supervisor_is_killed(bench: Bench, number: signal.Signals) -> None:
    bench.up()
    pid = control.supervisor_pid(bench.lab.socket)
    assert pid
    os.kill(pid, number)
    await_nothing(bench.lab.folder)
    assert not bench.lab.owner()
    assert not bench.lab.down()  # it had ended, its files go now
    assert not bench.lab.folder.exists()


def test_a_supervisor_that_hangs_is_ended_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.up()
    pid = control.supervisor_pid(bench.lab.socket)
    assert pid
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(lab, "STATUS_SECONDS", 0.3)
    monkeypatch.setattr(lab, "DOWN_SECONDS", 2.0)
    assert bench.lab.down()
    await_nothing(bench.lab.folder)


def test_it_is_ended_while_it_starts(bench: Bench) -> None:
    failures: list[FirstlightError] = []

    def up() -> None:
        try:
            bench.up()
        except FirstlightError as error:
            failures.append(error)

    starter = threading.Thread(target=up)
    starter.start()
    while not bench.lab.owner():
        assert starter.is_alive()
        time.sleep(0.005)
    assert bench.lab.down()
    starter.join()
    assert "ended" in failures[0].fact
    await_nothing(bench.lab.folder)


def test_two_that_start_at_once_get_one_lab(bench: Bench) -> None:
    started: list[bool] = []
    starters = [threading.Thread(target=lambda: started.append(bench.up())) for _ in range(2)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert sorted(started) == [False, True]


def test_what_another_command_prepares_is_not_taken_away(bench: Bench) -> None:
    other = Lab(bench.folder)
    with bench.lab.starting(bench.reported.append):
        bench.prepare()
        with pytest.raises(LockedError, match="another command is preparing the lab"):
            other.down()
        assert bench.lab.folder.exists()


def test_a_start_that_fails_says_why_and_leaves_no_process(bench: Bench) -> None:
    from dataclasses import replace

    broken = {**bench.settings.programs, "talosctl": Path("/bin/false")}
    with pytest.raises(FirstlightError, match=r"false gen secrets .*exit code 1"):
        bench.up(replace(bench.settings, programs=broken))
    await_nothing(bench.lab.folder)
    assert not bench.lab.owner()
    # whoever starts next removes what is left, as `prepare` does
    bench.lab.down()
    assert bench.up()


def test_who_starts_it_may_be_killed(bench: Bench) -> None:
    """The lab goes on, and the next command joins it."""
    bench.prepare()
    supervisor = bench.lab._start(bench.settings, runner())
    while not bench.lab.owner():
        assert supervisor.running
        time.sleep(0.01)
    assert not bench.up()
    assert bench.lab.status().state == "ready"


def test_the_worktree_is_left_alone(bench: Bench) -> None:
    bench.up()
    assert git(bench.root, "status", "--porcelain") == ""
