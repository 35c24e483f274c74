"""A run of the phases that write to Kubernetes, in a process of its own, against a real API server.

Everything is real but what those phases need of others: session, engine, journal, lock and lease, connection.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from bootstrap.engine import Phase
from bootstrap.engine.testing import given
from bootstrap.host.secret import Redactor, Secret
from bootstrap.host.yaml_io import load_file
from inventory.loader import load
from kube import lease
from kube.lightkube_cluster import LightkubeCluster
from kube.transport import Transport
from phases import crds, prerequisites, session
from phases.refs import API, CORE_FOLDER, EXTRACT, SECRETS
from phases.world import Access, Credentials, World
from tests import forked

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.commands import CommandRunner
    from bootstrap.host.objects import Object
    from talos.bundle import Bundle

ROOT = Path(__file__).parents[2]
COMMAND = "./invoke bootstrap --cluster lab"
# What the resources of the repository may ask for by `secret://`; the values are made up.
NAMED: Final = ("connect-token", "cilium-ca-crt", "cilium-ca-key")
# What the fork server has imported before it forks; a child then costs a tenth of a second.
_PRELOADED: Final = [
    "tests.api.bootstrapping", "bootstrap.views.log", "httpx2", "inventory.schema",
    "lightkube.config.client_adapter", "lightkube.config.kubeconfig", "structlog", "tenacity",
]  # fmt: skip
# Seconds for a run of a second on a loaded machine.
PATIENCE: Final = 60.0


class Point(StrEnum):
    """Where a request is hit."""

    BEFORE = "before it is sent"
    AFTER = "after its effect, before anybody knows of it"


@dataclass(frozen=True)
class Order:
    """What a process of its own is to do.

    Attributes:
        root: the repository; its definitions are in `definitions.yaml`, and the run's words in `stderr`.
        kubeconfig: of the API server.
        tag: marks the lease of this repository's cluster.
        point: where the run is killed.
        number: at which request that writes, counted from 1; 0 is never.
    """

    root: Path
    kubeconfig: Path
    tag: str
    point: Point = Point.BEFORE
    number: int = 0


def run(order: Order) -> int | None:
    """Carry out an order; the exit code, negative for the signal that ended it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=_in_child, args=(order,), daemon=True)
    forked.start(process)
    return forked.end_of(process, PATIENCE)


def _in_child(order: Order) -> None:
    with (order.root / "stderr").open("a") as stderr:
        os.dup2(stderr.fileno(), 2)
    if order.number:
        seams: list[tuple[Any, str, object]] = [(Transport, "ask", _trapped(Transport.ask, order))]
    else:
        seams = []
    seams += [
        (lease, "NAME", f"firstlight-{order.tag}"),
        (session, "open_world", _world),
        (session, "build", lambda world: _phases(world, order)),
    ]
    for place, name, seam in seams:
        assert hasattr(place, name), f"{place.__name__} has no {name} to put another in its place"
        setattr(place, name, seam)
    cluster = load(ROOT, "lab")
    state = order.root / ".firstlight" / "lab"
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    (state / "kubeconfig").write_bytes(order.kubeconfig.read_bytes())
    raise SystemExit(int(session.run(session.Request(order.root, order.root / "cache", cluster, COMMAND)).exit_code))


def _trapped(ask: Callable[..., bytes], order: Order) -> Callable[..., bytes]:
    """A request that ends the process at the chosen one of those that write."""
    lock = threading.Lock()
    count = 0

    def reach(point: Point, number: int) -> None:
        if (point, number) == (order.point, order.number):
            os.kill(os.getpid(), signal.SIGKILL)

    def trapped(self: Transport, method: str, *arguments: Any, **options: Any) -> bytes:
        nonlocal count
        # A dry run stores nothing.
        if method == "GET" or "dryRun" in arguments[1]:
            return ask(self, method, *arguments, **options)
        with lock:
            count += 1
            number = count
        reach(Point.BEFORE, number)
        answer = ask(self, method, *arguments, **options)
        reach(Point.AFTER, number)
        return answer

    return trapped


def _world(request: session.Request, runner: CommandRunner, _: object, redactor: Redactor) -> World:
    world = session._world(request, runner, redactor, {"talosctl": Path()})
    return replace(world, connect=LightkubeCluster.connect)


def _phases(world: World, order: Order) -> tuple[Phase, ...]:
    kubeconfig = Secret(order.kubeconfig.read_bytes(), "kubeconfig")
    # Nothing here asks for the bundle, which belongs to machines.
    secrets = {name: Secret(f"a value for {name}", name) for name in NAMED}
    credentials = Credentials(cast("Bundle", None), Secret(b"", "talosconfig"), secrets)
    definitions = tuple(cast("Object", item) for item in load_file(order.root / "definitions.yaml", root=order.root))
    values = {
        SECRETS: credentials,
        API: Access(LightkubeCluster.connect(kubeconfig), order.kubeconfig),
        CORE_FOLDER: order.root,
        EXTRACT: definitions,
    }
    steps = tuple(given(step.name, value) for step, value in values.items())
    apply = crds.phase(world)
    return (
        Phase(name="given", title="What other phases give", steps=steps, target=1.0),
        prerequisites.phase(world),
        replace(apply, steps=tuple(step for step in apply.steps if step.name != EXTRACT.name)),
    )
