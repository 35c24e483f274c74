"""Spegel as the real tree installs it: what is asked of every node, and what becomes of each answer."""

from __future__ import annotations

import http.server
import subprocess  # noqa: TID251 # a server that outlives a call is no business of the tool's command runner
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine import Phase
from bootstrap.engine.machine import State as StepState
from bootstrap.engine.proof import ProofKind
from bootstrap.engine.testing import Recording
from phases import mirror
from phases.refs import FILES
from talos.probe import State
from tests.unit.phases import rack as racks
from tests.unit.phases.rack import Rack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bootstrap.engine.verdict import StepResult
    from gitops.tree import Tree
    from tests.unit.tree.rendered import Programs

# As Talos merges its own part and that of talos/base.yaml.
MERGED = """\
version = 3
[plugins]
  [plugins.'io.containerd.cri.v1.images']
    discard_unpacked_layers = {discard}
    use_local_image_pull = true
"""


@dataclass
class Registries:
    """What stands behind the port of each node: the words of each look, the last ones stay."""

    words: dict[str, list[str]] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, address: str, port: int) -> str:
        self.asked.append((address, port))
        words = self.words.get(address, [""])
        return words.pop(0) if len(words) > 1 else words[0]


@pytest.fixture
def rack() -> Rack:
    rack = Rack(racks.cluster(2), State.OURS)
    for box in rack.boxes.values():
        box.files[mirror.CONTAINERD] = MERGED.format(discard="false")
    return rack


def run(rack: Rack, tree: Tree, folder: Path, ask: mirror.Ask, *stand_ins: str) -> StepResult:
    world = replace(racks.world(rack, folder), stand_ins=frozenset(stand_ins))
    phase = Phase(name="core", title="x", steps=(mirror.step(world, ask),), target=5000.0)
    verdict = racks.run(rack, phase, Recording(), **{FILES.name: tree, mirror.SPEGEL.name: None})
    return list(verdict.steps())[-1]


def kinds(result: StepResult) -> list[ProofKind]:
    return [proof.kind for proof in result.proofs]


def test_every_node_is_asked_at_the_port_of_the_tree(rack: Rack, trees: dict[str, Tree], tmp_path: Path) -> None:
    ask = Registries()
    result = run(rack, trees["infra"], tmp_path, ask)
    assert result.state is StepState.DONE
    assert ask.asked == [(str(node.address), 29999) for node in rack.cluster.nodes]
    assert kinds(result) == [ProofKind.PROVEN, ProofKind.PROVEN]


def test_a_cluster_without_spegel_is_not_asked(rack: Rack, trees: dict[str, Tree], tmp_path: Path) -> None:
    ask = Registries()
    assert run(rack, trees["lab"], tmp_path, ask).state is StepState.SKIPPED
    assert ask.asked == []
    assert all(box.asked == [] for box in rack.boxes.values())


def test_a_mirror_that_comes_up_is_waited_for(rack: Rack, trees: dict[str, Tree], tmp_path: Path) -> None:
    late = str(rack.cluster.nodes[1].address)
    ask = Registries({late: ["[Errno 111] Connection refused", "it answers 500", ""]})
    result = run(rack, trees["infra"], tmp_path, ask)
    assert result.state is StepState.DONE
    assert ask.words[late] == [""]


def test_a_mirror_that_never_answers_is_named_with_its_node(rack: Rack, trees: dict[str, Tree], tmp_path: Path) -> None:
    late = str(rack.cluster.nodes[1].address)
    result = run(rack, trees["infra"], tmp_path, Registries({late: ["timed out"]}))
    assert result.failure is not None
    assert "the image mirror to answer on every node" in result.failure.fact
    assert "1 of 2 nodes have a registry at port 29999; cp-2: timed out" in result.failure.cause


def test_layers_that_are_discarded_are_named_and_no_waiting_mends_them(
    rack: Rack, trees: dict[str, Tree], tmp_path: Path
) -> None:
    rack["cp-1"].files[mirror.CONTAINERD] = MERGED.format(discard="true")
    ask = Registries()
    result = run(rack, trees["infra"], tmp_path, ask)
    assert result.failure is not None
    assert result.failure.fact == "containerd discards the layers that Spegel has to serve"
    assert ["cp-1" in problem.text for problem in result.failure.problems] == [True]
    assert ask.asked == []


@pytest.fixture
def stand_in(tmp_path: Path, programs: Programs) -> Iterator[int]:
    """The port of the lab's Spegel, with containerd's content store in a folder."""
    content = tmp_path / "content"
    (content / "blobs" / "sha256").mkdir(parents=True)
    words = ("registry", "--registry-addr=127.0.0.1:0", f"--containerd-content-path={content}")
    with subprocess.Popen([programs("lab-spegel"), *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline().rpartition(":")[2])
        process.terminate()
    assert process.returncode == 0


def test_the_labs_spegel_satisfies_it_and_is_named_a_stand_in(
    rack: Rack, trees: dict[str, Tree], tmp_path: Path, stand_in: int
) -> None:
    def ask(address: str, port: int) -> str:
        return mirror.ask_registry("127.0.0.1", stand_in) if address and port else "not asked"

    result = run(rack, trees["infra"], tmp_path / "run", ask, "spegel")
    assert result.state is StepState.DONE
    assert kinds(result) == [ProofKind.STAND_IN, ProofKind.PROVEN]


def test_a_stand_in_that_is_silent_is_waited_for_too(rack: Rack, trees: dict[str, Tree], tmp_path: Path) -> None:
    silent = {str(node.address): ["refused"] for node in rack.cluster.nodes}
    assert run(rack, trees["infra"], tmp_path, Registries(silent), "spegel").failure is not None


@pytest.mark.parametrize(
    ("config", "keeps"),
    [
        (MERGED.format(discard="false"), True),
        (MERGED.format(discard="true"), False),
        ("version = 3\n", True),
        # The key of containerd 1, which containerd 2 does not read.
        ("[plugins.'io.containerd.grpc.v1.cri']\ndiscard_unpacked_layers = true\n", True),
    ],
)
def test_what_containerd_is_told(config: str, *, keeps: bool) -> None:
    assert mirror.keeps_layers(config) is keeps


class _Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v2/" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Registry)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_a_registry_is_known_by_its_api(port: int) -> None:
    assert mirror.ask_registry("127.0.0.1", port) == ""


def test_a_port_that_refuses_is_no_registry() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Registry) as gone:
        port = gone.server_port
    assert "refused" in mirror.ask_registry("127.0.0.1", port)
