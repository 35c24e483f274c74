"""The lab's first process: makes network, internet and machines, answers the control socket, ends with everything.

It runs inside namespaces of its own; when it ends, the kernel ends whatever is left in them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.host.commands import Command, Daemon, ShCommandRunner
from bootstrap.host.errors import FirstlightError
from bootstrap.host.files import write_atomically
from bootstrap.host.secret import Redactor
from rehearsal import control, web
from rehearsal.certificates import Authority, issue_server
from rehearsal.charts import package
from rehearsal.faults import Faults
from rehearsal.locks import try_lock
from rehearsal.machine import MAINTENANCE, Machine
from rehearsal.network import Network, TimeServer, dnsmasq_arguments, write_resolver
from rehearsal.registry import Registry, images_from_json
from rehearsal.repository import commit_worktree
from rehearsal.settings import (
    CONNECT_ADDRESS,
    CONNECT_NAMES,
    FAILURE_FILE,
    IMAGES_FILE,
    MODULES_FILE,
    REGISTRY_ADDRESS,
    REGISTRY_NAMES,
    TIME_ADDRESS,
    WEB_ADDRESS,
    LabSettings,
    from_json,
)
from rehearsal.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Talos' API, in maintenance and afterwards.
TALOS_PORT = 50000
# A cold boot to maintenance takes 20 to 35 s under emulation; four minutes are a machine that hangs.
MAINTENANCE_SECONDS = 240.0
# The registry opens its port within a second; thirty are a port that is taken.
REGISTRY_SECONDS = 30.0
# Commands that look whether a lab runs hold its lock for a moment.
LOCK_SECONDS = 5.0
CONNECT_ITEM = "onepassword-connect"
# A server that has no AES instructions makes its clients speak ChaCha20, which an emulated processor decrypts
# several times faster than AES.
REGISTRY_ENVIRONMENT = {"GODEBUG": "cpu.aes=off", "OTEL_TRACES_EXPORTER": "none"}


class Supervisor:
    """Everything of one lab.

    Args:
        settings: what it is made of.
    """

    def __init__(self, settings: LabSettings) -> None:
        self._settings = settings
        self._runner = ShCommandRunner(Redactor())
        self._network = Network(settings, self._runner)
        self._vault = Vault(settings.vault)
        self._machines = tuple(Machine(number, one, settings) for number, one in enumerate(settings.machines))
        self._daemons: list[Daemon] = []
        self._faults: Faults | None = None
        self._publishing = threading.Lock()
        self._snapshots: list[str] = []
        self._ended = threading.Event()
        self._state = "starting"
        self._doing = "making the network"

    def run(self) -> None:
        """Make the lab and keep it until it is asked to stop."""
        control.listen(self._settings.socket, self.handle)
        signal.signal(signal.SIGTERM, lambda *_: self._ended.set())
        try:
            self._make()
            self._state, self._doing = "ready", ""
            # In steps: the kernel may give a signal to another thread, and Python handles it when this one wakes.
            while not self._ended.wait(0.5):
                pass
        finally:
            for machine in self._machines:
                machine.end()
            for daemon in self._daemons:
                daemon.end()

    def handle(self, request: str, arguments: dict[str, Any]) -> object:
        """Answer one request of the control socket.

        Raises:
            FirstlightError: what was asked for failed or does not exist.
        """
        handlers: dict[str, Callable[..., object]] = {
            "status": self.status, "publish": self.publish, "save": self.save, "load": self.load, "fault": self.fault,
            "mend": self.mend, "fired": self.fired, "stop": self.stop,
            "token": lambda: self._vault.field(CONNECT_ITEM, "token"),
        }  # fmt: skip
        if request not in handlers:
            raise FirstlightError(f"the lab knows no request {request!r}", cause=f"it knows {', '.join(handlers)}")
        return handlers[request](**arguments)

    def status(self) -> dict[str, object]:
        """State, what is being done, machines and snapshots."""
        machines = [
            {"name": one.settings.name, "running": one.running, "console": str(one.console)} for one in self._machines
        ]
        return {
            "state": self._state,
            "doing": self._doing,
            "machines": machines,
            "snapshots": self._snapshots,
        }

    def publish(self) -> dict[str, object]:
        """Serve the worktree's charts and its synthetic commit as they are now.

        Returns:
            The commit's id and the charts' names with versions.
        """
        with self._publishing:
            settings = self._settings
            bare = settings.folder / "git" / f"{settings.git_path}.git"
            commit = commit_worktree(settings.root, bare, settings.git_ref, settings.programs["git"], self._runner)
            charts = self._publish_charts()
        return {"commit": commit, "charts": charts}

    def save(self, name: str) -> list[str]:
        """Keep disk and memory of all machines under a name, all of them stopped meanwhile."""
        with self._paused():
            for machine in self._machines:
                machine.save(name)
        self._snapshots = [*[one for one in self._snapshots if one != name], name]
        return self._snapshots

    def load(self, name: str) -> None:
        """Bring all machines back to a name."""
        if name not in self._snapshots:
            raise FirstlightError(
                f"there is no snapshot {name!r}", cause=f"there are: {', '.join(self._snapshots) or 'none'}"
            )
        with self._paused():
            for machine in self._machines:
                machine.load(name)

    def fault(self, name: str, machine: int = 0, seconds: float = 0.0) -> None:
        """Let an accident happen."""
        self._accidents().begin(name, machine, seconds)

    def mend(self, name: str, machine: int = 0) -> int:
        """Mend an accident; how often it was felt."""
        return self._accidents().end(name, machine)

    def fired(self, name: str) -> int:
        """How often an accident was felt so far."""
        return self._accidents().fired(name)

    def stop(self) -> None:
        """End the lab; one that is still starting ends at once, the kernel cleans up behind it."""
        self._ended.set()
        if self._state == "starting":
            # The moment is for the answer to whoever asked.
            threading.Timer(0.1, os._exit, (0,)).start()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        try:
            for machine in self._machines:
                machine.pause()
            yield
        finally:
            for machine in self._machines:
                machine.resume()

    def _accidents(self) -> Faults:
        if self._faults is None:
            raise FirstlightError("the lab is still starting")
        return self._faults

    def _make(self) -> None:
        resolver = write_resolver(self._settings)
        mount = Command(
            self._settings.programs["mount"], ("--bind", str(resolver), "/etc/resolv.conf"), timeout=10
        )  # instant
        self._runner.run(mount)
        self._network.make()
        clock = TimeServer(TIME_ADDRESS)
        clock.start()
        self._faults = Faults(self._settings, self._runner, self._network, clock, self._machines)
        self._daemon("dnsmasq", *dnsmasq_arguments(self._settings))
        for machine in self._machines:
            machine.create(self._runner)
            machine.start(self._runner)
        self._serve()
        self._fill_vault()
        self._fill_registry()
        self._doing = "publishing charts and the worktree's commit"
        self.publish()
        for machine in self._machines:
            self._doing = f"waiting for {machine.settings.name} to reach maintenance"
            self._await_maintenance(machine)
        if all(machine.restored for machine in self._machines):
            self._snapshots = [MAINTENANCE]
            return
        self.save(MAINTENANCE)
        for machine in self._machines:
            machine.keep()

    def _serve(self) -> None:
        settings = self._settings
        authority = Authority(settings.authority_certificate, settings.authority_key)
        names = (*REGISTRY_NAMES, *settings.chart_hosts, settings.git_host, *CONNECT_NAMES)
        pair = (settings.folder / "tls.crt", settings.folder / "tls.key")
        issue_server(authority, names, *pair)
        shutil.copy(settings.authority_certificate, settings.trust)
        self._start_registry(pair)
        folders = {host: settings.folder / "charts" / host for host in settings.chart_hosts}
        files = web.serve_files(folders)
        git = web.serve_git(settings.folder / "git", settings.programs["git"], self._runner)
        hosts = {**dict.fromkeys(settings.chart_hosts, files), settings.git_host: git}
        web.serve(WEB_ADDRESS, 443, web.by_host(hosts), tls=pair)
        connect = web.serve_connect(self._vault, lambda: self._vault.field(CONNECT_ITEM, "token"))
        web.serve(CONNECT_ADDRESS, 80, connect)
        web.serve(CONNECT_ADDRESS, 443, connect, tls=pair)

    def _start_registry(self, pair: tuple[Path, Path]) -> None:
        settings = self._settings
        storage = settings.folder / "registry"
        if settings.registry_base.exists():
            # Blobs never change, so links to the cached ones are enough; tags are replaced, not written to.
            shutil.copytree(settings.registry_base, storage, copy_function=_link_or_copy)
        configuration = {
            "version": 0.1, "log": {"level": "warn"}, "storage": {"filesystem": {"rootdirectory": str(storage)}},
            "http": {"addr": f"{REGISTRY_ADDRESS}:443", "tls": {"certificate": str(pair[0]), "key": str(pair[1])}},
        }  # fmt: skip
        path = settings.folder / "registry.yml"
        path.write_text(json.dumps(configuration))
        self._daemon("registry", "serve", str(path), environment=REGISTRY_ENVIRONMENT)

    def _fill_vault(self) -> None:
        # `talosctl gen secrets` makes five key pairs: two seconds on a busy machine.
        command = Command(
            self._settings.programs["talosctl"],
            ("gen", "secrets", "--output-file", "/dev/stdout", "--force"),
            timeout=60,
        )
        self._vault.put(f"talos-{self._settings.cluster}", {"bundle": self._runner.run(command).text})
        self._vault.put(CONNECT_ITEM, {"token": secrets.token_urlsafe(48)})

    def _fill_registry(self) -> None:
        settings = self._settings
        registry = Registry(REGISTRY_NAMES[0], settings.trust, settings.programs["zstd"], self._runner)
        _wait(registry.answers, REGISTRY_SECONDS, "the lab's registry to answer")
        if settings.registry_base.exists():
            return
        images = images_from_json((settings.folder / IMAGES_FILE).read_text())
        for number, image in enumerate(images, start=1):
            self._doing = f"pushing image {number} of {len(images)}: {image.reference}"
            registry.push(image)
        made = settings.registry_base.with_name(settings.registry_base.name + ".new")
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(settings.folder / "registry", made, copy_function=_link_or_copy)
        made.rename(settings.registry_base)
        for old in settings.registry_base.parent.glob("registry-*"):
            if old != settings.registry_base:
                shutil.rmtree(old, ignore_errors=True)

    def _publish_charts(self) -> list[str]:
        settings = self._settings
        folder = Path(tempfile.mkdtemp(dir=settings.folder, prefix="charts-"))
        for host in settings.chart_hosts:
            (folder / host).mkdir(parents=True)
        modules: dict[str, str] = json.loads((settings.folder / MODULES_FILE).read_text())
        helm = settings.programs["helm"]
        charts = package(
            settings.root / "lab" / "charts",
            folder / "packaged",
            helm,
            self._runner,
            lambda module, version: Path(modules[f"{module}@{version}"]),
        )
        environment = {
            "SSL_CERT_FILE": str(settings.trust),
            "HELM_CACHE_HOME": str(folder / "cache"),
            "HELM_CONFIG_HOME": str(folder / "config"),
        }
        for chart in charts:
            if chart.repository.startswith("oci://"):
                # A few kilobytes to the same machine.
                self._runner.run(Command(helm, ("push", str(chart.file), chart.repository), environment, timeout=60))
            else:
                shutil.copy(chart.file, folder / chart.repository.removeprefix("https://").strip("/"))
        for host in settings.chart_hosts:
            self._runner.run(
                Command(helm, ("repo", "index", str(folder / host)), environment, timeout=60)
            )  # reads a few files
        _swap(settings.folder / "charts", folder)
        return [f"{chart.name} {chart.version}" for chart in charts]

    def _await_maintenance(self, machine: Machine) -> None:
        def answers() -> bool:
            if not machine.running:
                tail = (machine.folder / "qemu.log").read_text(errors="replace")[-500:]
                raise FirstlightError(f"{machine.settings.name} ended", cause=tail.strip() or "QEMU printed nothing")
            try:
                socket.create_connection((machine.settings.maintenance_address, TALOS_PORT), timeout=1).close()
            except OSError:
                return False
            return True

        _wait(answers, MAINTENANCE_SECONDS, f"{machine.settings.name} to reach maintenance")

    def _daemon(self, name: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        command = Command(self._settings.programs[name], arguments, environment or {})
        self._daemons.append(self._runner.start(command, log=self._settings.folder / "logs" / f"{name}.log"))


def main() -> None:
    """Read the settings file named by the first argument and run the lab."""
    settings = from_json(Path(sys.argv[1]).read_text())
    child = os.fork()
    if child:
        _reap(child)
    lock = Path(sys.argv[2]).open("r+")  # noqa: SIM115 # held for the life of the process
    try:
        _wait(lambda: try_lock(lock), LOCK_SECONDS, "the lock of the lab")
        Supervisor(settings).run()
    except Exception as error:  # noqa: BLE001 # whoever waits for the lab must learn why it failed
        traceback.print_exc()
        _tell_failure(settings.folder / FAILURE_FILE, error)
        os._exit(1)
    # Threads of servers would hold up an ordinary exit.
    os._exit(0)


def _tell_failure(path: Path, error: Exception) -> None:
    failure = {"fact": "the lab's supervisor failed", "cause": f"{type(error).__name__}: {error}", "remedy": ""}
    if isinstance(error, FirstlightError):
        failure = {"fact": error.fact, "cause": error.cause, "remedy": error.remedy}
    with suppress(OSError):  # a full disk has room for no more words
        write_atomically(path, json.dumps(failure).encode())


def _reap(child: int) -> None:
    """Be PID 1: collect orphans until the supervisor ends, pass on the request to stop."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _wait(holds: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise FirstlightError(f"gave up waiting for {what}", cause=f"nothing within {seconds:g} s")
        time.sleep(0.1)  # a local port: asking ten times a second costs nothing


def _swap(link: Path, folder: Path) -> None:
    """Have a link name another folder, in one go: whoever reads meanwhile finds the old one or the new one whole."""
    old = link.resolve() if link.exists() else None
    made = link.with_name(f"{link.name}.new")
    made.symlink_to(folder.name)
    made.replace(link)
    if old:
        shutil.rmtree(old, ignore_errors=True)


def _link_or_copy(source: str, target: str) -> None:
    # Names of tags are rewritten in place by the registry, so only content is shared.
    if "/blobs/" in source:
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    else:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    main()
