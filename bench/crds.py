"""81 definitions of the real sizes, from parsed manifests to the last one established and served, beside kubectl.

Run: `.venv/bin/python -m bench.crds`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.definitions import compact, definitions
from bench.stub import stub
from bench.table import Row, show
from bootstrap.host import yaml_io
from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.objects import name_of
from bootstrap.host.secret import Redactor, Secret
from bootstrap.host.toolbox import Toolbox, default_cache
from kube.cluster import Standing
from kube.crds import established, served, watch_established
from kube.lightkube_cluster import LightkubeCluster
from tests.api.server import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bootstrap.host.objects import Object

# Seconds of the network to an API server in another room.
LATENCY: Final = 0.005
# Seconds; kubectl takes a quarter of a minute on an idle machine, and one that is loaded ten times that.
PATIENCE: Final = 600.0
# Seconds between two looks at discovery.
PAUSE: Final = 0.02


def ours(api: LightkubeCluster, wanted: list[Object]) -> float:
    """Seconds from parsed manifests to everything being served."""
    began = time.perf_counter()
    api.apply(wanted)
    for look in watch_established(api, [name_of(item) for item in wanted], seconds=PATIENCE):
        if look.holds:
            break
    while not served(api, wanted).holds:
        time.sleep(PAUSE)
    return time.perf_counter() - began


def again(api: LightkubeCluster, wanted: list[Object]) -> float:
    """Seconds to find that nothing is to be done."""
    began = time.perf_counter()
    compared = api.compare(wanted)
    look = established([one.live for one in compared if one.live], [name_of(item) for item in wanted])
    if not (look.holds and served(api, wanted).holds and {one.standing for one in compared} == {Standing.EQUAL}):
        raise SystemExit(f"something was to be done again: {look.seen}")
    return time.perf_counter() - began


def theirs(kubectl: Path, kubeconfig: Path, wanted: list[Object], folder: Path) -> float:
    """Seconds of `kubectl apply --server-side` and `kubectl wait`."""
    # JSON is YAML, and kubectl reads both documents alike.
    file = folder / "definitions.yaml"
    file.write_text("\n---\n".join(map(json.dumps, wanted)))
    runner = ShCommandRunner(Redactor())
    flags = ("--kubeconfig", str(kubeconfig), "--cache-dir", str(folder / "cache"))
    names = [f"customresourcedefinition/{name_of(item)}" for item in wanted]
    began = time.perf_counter()
    for words in (
        ("apply", "--server-side", "--validate=false", "--filename", str(file)),
        ("wait", "--for=condition=Established", f"--timeout={PATIENCE:.0f}s", *names),
    ):
        runner.run(Command(kubectl, (*flags, *words), {"HOME": str(folder)}, timeout=PATIENCE))
    return time.perf_counter() - began


@contextmanager
def connected(kubeconfig: Secret) -> Iterator[LightkubeCluster]:
    """An API as long as it is open."""
    api = LightkubeCluster.connect(kubeconfig)
    yield api
    api.close()


def native(programs: Mapping[str, Path], wanted: list[Object]) -> list[Row]:
    """Against native API servers, one for each side, so that neither pays for the other's definitions."""
    servers = programs["etcd"], programs["kube-apiserver"]
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), *servers) as server:
        with connected(server.kubeconfig) as api:
            before = server.processor_seconds()
            took = ours(api, wanted)
            least = (server.processor_seconds() - before) / (os.cpu_count() or 1)
            writes = server.writes("firstlight")
            unchanged = min(again(api, wanted) for _ in range(3))
        if server.writes("firstlight") != writes:
            raise SystemExit("something was written again")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), *servers) as server:
        kubectl = theirs(programs["kubectl"], server.kubeconfig_path, wanted, Path(folder))
    return [
        Row("a native API server", took, kubectl, "kubectl apply --server-side, kubectl wait", "s"),
        Row("a native API server", took, least, "its processor time and etcd's over all processors", "s"),
        Row("the same definitions again, no write", unchanged, took, "the first time", "s"),
    ]


def distant(kubectl: Path, wanted: list[Object]) -> Row:
    """Against stubs that answer after some milliseconds."""

    def kubeconfig(url: str) -> str:
        named = {"name": "stub"}
        return yaml_io.dump({
            "apiVersion": "v1", "kind": "Config", "clusters": [{**named, "cluster": {"server": url}}],
            "users": [{**named, "user": {"token": "none"}}], "current-context": "stub",
            "contexts": [{**named, "context": {"cluster": "stub", "user": "stub"}}],
        })  # fmt: skip

    with stub(LATENCY) as url, connected(Secret(kubeconfig(url), "stub")) as api:
        took = ours(api, wanted)
    with stub(LATENCY) as url, tempfile.TemporaryDirectory() as name:
        path = Path(name) / "kubeconfig"
        path.write_text(kubeconfig(url))
        beside = theirs(kubectl, path, wanted, Path(name))
    return Row(
        f"a stub that takes {1000 * LATENCY:.0f} ms", took, beside, "kubectl apply --server-side, kubectl wait", "s"
    )


def main() -> None:
    """Measure and print."""
    wanted = definitions()
    sizes = [compact(item) for item in wanted]
    sys.stdout.write(f"{len(sizes)} definitions, {sum(sizes) / 1e6:.1f} MB, largest {max(sizes) / 1e3:.0f} kB\n")
    cache = default_cache(os.environ)
    toolbox = Toolbox(Path(__file__).parents[1], cache, ShCommandRunner(Redactor()), lambda _: None, os.environ["PATH"])
    programs = toolbox.ensure(["etcd", "kube-apiserver", "kubectl"])
    show([*native(programs, wanted), distant(programs["kubectl"], wanted)])


if __name__ == "__main__":
    main()
