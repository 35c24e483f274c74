"""The lab's first process: makes network, internet and machines, answers the control socket, ends with everything.

It runs inside namespaces of its own; when it ends, the kernel ends whatever is left in them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sys
import threading
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.errors import FirstlightError
from bootstrap.host.files import write_atomically
from bootstrap.host.locks import try_lock
from bootstrap.host.secret import Redactor
from rehearsal import control
from rehearsal.catalogue import find
from rehearsal.faults import Faults
from rehearsal.internet import Internet
from rehearsal.machine import MAINTENANCE, Machine, template_of
from rehearsal.network import Network, TimeServer, write_resolver
from rehearsal.settings import FAILURE_FILE, TALOS_PORT, TIME_ADDRESS, LabSettings, from_json
from rehearsal.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A cold boot to maintenance takes 20 to 35 s under emulation; four minutes are a machine that hangs.
MAINTENANCE_SECONDS = 240.0
# Commands that look whether a lab runs hold its lock for a moment.
LOCK_SECONDS = 5.0
# QEMU's monitor reads the name as a word of a command line.
SNAPSHOT_NAME = re.compile(r"[A-Za-z][\w.-]*")


class Supervisor:
    """Everything of one lab.

    Args:
        settings: what it is made of.
    """

    def __init__(self, settings: LabSettings) -> None:
        self._settings = settings
        self._runner = ShCommandRunner(Redactor())
        self._internet = Internet(settings, self._runner)
        self._network = Network(settings, self._runner)
        self._machines = tuple(Machine(number, one, settings) for number, one in enumerate(settings.machines))
        self._template = template_of(self._machines, settings.registry_base.parent)
        self._faults: Faults | None = None
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
            self._internet.close()
            self._network.end()

    def handle(self, request: str, arguments: dict[str, Any]) -> object:
        """Answer one request of the control socket.

        Raises:
            FirstlightError: what was asked for failed or does not exist.
        """
        handlers: dict[str, Callable[..., object]] = {
            "status": self.status, "publish": self._internet.publish, "save": self.save, "load": self.load,
            "fault": self.fault, "mend": self.mend, "fired": self.fired, "stop": self.stop,
            "token": self._internet.token,
        }  # fmt: skip
        if request not in handlers:
            raise FirstlightError(f"the lab knows no request {request!r}", cause=f"it knows {', '.join(handlers)}")
        return handlers[request](**arguments)

    def status(self) -> dict[str, object]:
        """State, what is being done, snapshots, and machines with the trouble they are in."""
        machines = [
            {
                "name": one.settings.name,
                "running": one.running,
                "state": str(one.state),
                "trouble": one.trouble,
                "console": str(one.console),
            }
            for one in self._machines
        ]
        return {
            "state": self._state,
            "doing": self._doing,
            "machines": machines,
            "snapshots": self._snapshots,
        }

    def save(self, name: str) -> list[str]:
        """Keep disk and memory of all machines under a name, all of them stopped meanwhile.

        Raises:
            FirstlightError: it is no name for a snapshot, or a machine could not be saved.
        """
        if not SNAPSHOT_NAME.fullmatch(name):
            cause = "a name begins with a letter and goes on with letters, digits, `.`, `_` and `-`"
            raise FirstlightError(f"no snapshot can be called {name!r}", cause=cause)
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
                machine.load(name, self._runner)

    def fault(self, name: str, machine: int = 0, seconds: float = 0.0) -> None:
        """Let an accident happen; a machine that stands in another's place is in maintenance mode then."""
        self._accidents().begin(name, machine, seconds)
        if find(name).exchanges:
            self._await_maintenance(self._machines[machine])

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
        self._internet.give_names()
        template = self._template if self._template.exists() else None
        for machine in self._machines:
            machine.create(self._runner, template)
            begin = machine.restore if template else machine.start
            begin(self._runner)
        self._internet.open(self._tell)
        for machine in self._machines:
            self._tell(f"waiting for {machine.settings.name} to reach maintenance")
            self._await_maintenance(machine)
        if template:
            self._snapshots = [MAINTENANCE]
            return
        self.save(MAINTENANCE)
        self._keep()

    def _keep(self) -> None:
        """Keep the machines, saved under `MAINTENANCE` before, as the template of the next lab like this one."""
        made = self._template.with_name(f"{self._template.name}.new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        with self._paused():
            for machine in self._machines:
                machine.keep(made)
        made.rename(self._template)

    def _tell(self, doing: str) -> None:
        self._doing = doing

    def _await_maintenance(self, machine: Machine) -> None:
        def answers() -> bool:
            if machine.trouble:
                raise FirstlightError(f"{machine.settings.name} does not run", cause=machine.trouble)
            try:
                socket.create_connection((machine.settings.maintenance_address, TALOS_PORT), timeout=1).close()
            except OSError:
                return False
            return True

        # Machines that boot at the same time share the host's processors.
        wait_for(answers, MAINTENANCE_SECONDS * len(self._machines), f"{machine.settings.name} to reach maintenance")


def main() -> None:
    """Read the settings file named by the first argument and run the lab."""
    settings = from_json(Path(sys.argv[1]).read_text())
    child = os.fork()
    if child:
        _reap(child)
    lock = Path(sys.argv[2]).open("r+")  # noqa: SIM115 # held for the life of the process
    try:
        wait_for(lambda: try_lock(lock), LOCK_SECONDS, "the lock of the lab")
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


if __name__ == "__main__":
    main()
