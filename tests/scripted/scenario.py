"""A scenario: a place on disk with a repository, a store of secrets and a world, and the processes that work on it."""

from __future__ import annotations

import json
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.engine.journal import FILE
from bootstrap.engine.journal_contents import Contents, read
from bootstrap.host.commands import Command, CommandError, MemoryFile
from bootstrap.host.objects import name_of, text
from bootstrap.host.secret import Redactor, Secret
from bootstrap.host.yaml_io import load as load_yaml
from inventory.loader import load
from kube.cluster import LEASE
from kube.helm import decode
from talos.client import Talosctl
from talos.machineconfig import talosconfig
from tests import forked
from tests.scripted.canaries import new_bundle, write_store
from tests.scripted.conduct import Order, in_child
from tests.scripted.contract import Question, Said
from tests.scripted.lives import normal, without_unlocked
from tests.scripted.machines import Delays
from tests.scripted.node_answers import configuration
from tests.scripted.repository import call_absent, renamed, write_repository
from tests.scripted.ring import Ring
from tests.scripted.runner import ScriptedRunner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.context import ForkServerProcess

    from inventory.model import Cluster
    from kube.cluster import KindRef
    from tests.scripted.accidents import Accident
    from tests.scripted.model import Effect
    from tests.scripted.ports import Machine

# An order of nothing but the phase talos and what it needs.
TALOS: dict[str, Any] = {"request": {"only": ("secrets", "machines", "talos")}}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# What the fork server has imported before it forks; a child then costs milliseconds.
_PRELOADED = [
    "tests.scripted.conduct", "bootstrap.views.log", "cryptography.hazmat.primitives.asymmetric.ec",
    "cryptography.hazmat.primitives.serialization", "cryptography.x509.oid", "inventory.schema", "structlog",
    "tenacity", "_strptime",
]  # fmt: skip
# Seconds for one run in a scripted world, which takes a tenth of one; more means that it hangs.
_RUN_SECONDS = 60.0
# What of a machine depends on how often it booted and what it met on the way.
_OF_A_LIFE = ("boot", "clock", "console", "port", "slow")


@dataclass(frozen=True)
class Ran:
    """What became of a process."""

    exit_code: int
    said: Path

    @property
    def stderr(self) -> str:
        """Its standard error."""
        return (self.said / "stderr").read_text()

    @property
    def trapped(self) -> bool:
        """Whether its trap closed."""
        return (self.said / "trapped").exists()

    def kept(self, name: str) -> Any:
        """A file in JSON that it left about itself."""
        return json.loads((self.said / name).read_text())


class Scenario:
    """A place with a world in maintenance mode.

    Args:
        place: the folder; made here.
        store: the secrets of the cluster; None makes some.
        world: the world's file, when another scenario has it.
        delays: how long things take.
        nodes: how many control planes the cluster has.
        workers: how many workers.
        absent: names of those that the inventory calls absent.
        cluster: name of the cluster; only the lab's machines are as many as is asked for.
    """

    def __init__(
        self, place: Path, *, store: Path | None = None, world: Path | None = None, delays: Delays | None = None,
        nodes: int = 1,
        workers: int = 0,
        absent: Sequence[str] = (),
        cluster: str = "lab",
    ) -> None:  # fmt: skip
        self.place = place
        self.cluster = cluster
        self.world = world or place / "world.sqlite"
        self.store = store or place / "store"
        self._count = 0
        place.mkdir(parents=True)
        if store is None:
            write_store(self.store)
        write_repository(self.root, cluster, self.store, ["controlplane"] * nodes + ["worker"] * workers)
        if world is None:
            with Ring(self.world) as ring:
                ring.machines.rack(self.inventory, delays or Delays())
                ring.model.put("commit", COMMIT)
        for name in absent:
            call_absent(self.root, name)

    @property
    def root(self) -> Path:
        """The repository."""
        return self.place / "repository"

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.root / ".firstlight" / self.cluster / FILE

    @property
    def inventory(self) -> Cluster:
        """The cluster as the inventory has it."""
        return load(self.root, self.cluster)

    @property
    def cluster_id(self) -> str:
        """The id of the cluster whose secrets the store holds."""
        return text(load_yaml((self.store / "bundle.yaml").read_bytes(), source="bundle"), "cluster", "id")

    def run(self, **order: Any) -> Ran:
        """Carry out an order in a process of its own, to its end."""
        process, said = self.start(**order)
        return self.end(process, said)

    def start(self, **order: Any) -> tuple[ForkServerProcess, Path]:
        """Begin with an order in a process of its own."""
        self._count += 1
        made = Order(self.place, f"{self._count:03}", self.world, cluster=self.cluster, **order)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        process = context.Process(target=in_child, args=(made,), daemon=True)
        forked.start(process)
        return process, made.said

    @staticmethod
    def await_file(file: Path) -> None:
        """Wait for what a process leaves as a sign."""
        deadline = time.monotonic() + _RUN_SECONDS
        while not file.exists():
            assert time.monotonic() < deadline, f"nobody left {file}"
            time.sleep(0.001)

    @staticmethod
    def end(process: ForkServerProcess, said: Path) -> Ran:
        """Wait for a process; a signal that ended it counts negative."""
        code = forked.end_of(process, _RUN_SECONDS)
        assert code is not None, f"it hangs; it said:\n{(said / 'stderr').read_text()[-3000:]}"
        return Ran(code, said)

    def effects(self) -> list[Effect]:
        """Everything that was done to the world; to hold the lease is none of it."""
        with Ring(self.world) as ring:
            return [effect for effect in ring.model.effects() if effect.kind != "lease"]

    def changes(self) -> list[Effect]:
        """Those that change the world for good; a service that was started again is as it was."""
        return [effect for effect in self.effects() if effect.kind != "restart"]

    def tell(self, key: str, value: Any) -> None:
        """Set a fault of the world."""
        with Ring(self.world) as ring:
            ring.model.put(key, value)

    def told(self, key: str) -> Any:
        """What became of a fault of the world."""
        with Ring(self.world) as ring:
            return ring.model.get(key)

    def plan(self, *accidents: Accident) -> None:
        """Let these go wrong."""
        with Ring(self.world) as ring:
            ring.accidents.plan(accidents)

    def fired(self) -> list[int]:
        """How often each of the planned accidents has happened."""
        with Ring(self.world) as ring:
            return [each.fired for each in ring.accidents.all()]

    def asked(self, question: str) -> int:
        """How often a machine was asked something: `lab-02 get links`, `lab-01 handshake`."""
        with Ring(self.world) as ring:
            return sum(times for text, times in ring.model.asked().items() if f"{text} ".startswith(f"{question} "))

    def machine(self, name: str) -> Machine:
        """A machine."""
        with Ring(self.world) as ring:
            return ring.model.machine(name)

    def change(self, name: str, **properties: Any) -> None:
        """Change what a machine is."""
        with Ring(self.world) as ring:
            ring.model.put_machine({**ring.model.machine(name), **properties})

    def configure(self, *names: str, etcd: Sequence[str] = (), foreign: Sequence[str] = ()) -> None:
        """Make machines some that were configured before, and let what they do by themselves happen.

        Args:
            names: of machines that this cluster's secrets configured.
            etcd: those of them that each began an etcd of their own.
            foreign: machines that another cluster's secrets configured.
        """
        ours = (self.store / "bundle.yaml").read_bytes()
        with Ring(self.world) as ring:
            for bundle, some in ((ours, names), (new_bundle().encode(), foreign)):
                secrets = load_yaml(bundle, source="bundle")
                for node in (node for node in self.inventory.nodes if node.name in some):
                    config = configuration(secrets, node)
                    ring.machines.settle(ring.model.machine(node.name), config, etcd=etcd)
            ring.machines.begin()
            ring.model.settle()

    def suspend(self, release: str, status: str, *, age: float = 0.0) -> None:
        """Show a release in the middle of an operation that wrote its latest revision so many seconds ago."""
        with Ring(self.world) as ring:
            ring.releases.suspend(release, status, age=age)

    def revisions(self, release: str) -> list[str]:
        """Status and writer of each stored revision of a release, oldest first."""
        with Ring(self.world) as ring:
            stored = [decode(item) for item in ring.releases.history(release)]
        return [f"{one.status} by {one.deployed_by}" for one in stored]

    def names(self, kind: KindRef) -> list[str]:
        """The names of all objects of a kind."""
        with Ring(self.world) as ring:
            return [name_of(item) for item in ring.model.select(kind)]

    def members(self) -> list[list[str]]:
        """The members of every etcd: names, learners with a star."""
        with Ring(self.world) as ring:
            ring.model.settle()
            every = ring.machines.etcd.clusters().values()
            return [sorted(one["name"] + "*" * one["learner"] for one in members) for members in every]

    def runner(self, ring: Ring) -> ScriptedRunner:
        """The programs over a world."""
        return ScriptedRunner(self.root, self.inventory, ring, Redactor())

    def client(self, ring: Ring) -> tuple[Talosctl, Secret]:
        """talosctl over a world, and the talosconfig of the store's secrets."""
        talosctl = Talosctl(Path("/programs/talosctl"), self.runner(ring))
        bundle = Secret((self.store / "bundle.yaml").read_bytes(), "bundle")
        return talosctl, talosconfig(talosctl, self.inventory, bundle)

    def begin_rival(self) -> None:
        """Let another operator take the lease."""
        with Ring(self.world) as ring:
            ring.rival.begin()

    def ask(self, question: Question) -> Said:
        """Ask a question of the contract."""
        with Ring(self.world) as ring:
            node, (_, config) = self.inventory.bootstrap, self.client(ring)
            places = {"NODE": str(node.address), "MAINTENANCE": str(node.maintenance_address)}
            program, *words = (renamed(word, tuple(places.items())) for word in question.words)
            arguments: tuple[str | MemoryFile, ...] = (*words, MemoryFile(config, "--talosconfig="))
            try:
                result = self.runner(ring).run(Command(Path("/programs") / program, arguments))
            except CommandError as error:
                return Said(error.exit_code_seen or 0, error.stdout, error.stderr)
            return Said(result.exit_code, result.text, result.stderr.decode())

    def remembered(self) -> Contents:
        """What the journal says."""
        return read(self.journal, cluster=self.cluster)

    def final_world(self) -> list[Any]:
        """The world once everything has happened, without what differs between two lives of one cluster."""
        with Ring(self.world) as ring:
            ring.model.settle()
            every = (normal(item) for item in without_unlocked(ring.model.every()) if item["kind"] != LEASE[1])
            machines = (
                {key: one for key, one in each.items() if key not in _OF_A_LIFE} for each in ring.model.machines()
            )
            return [*machines, *every]
