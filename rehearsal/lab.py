"""The lab as commands see it: up, down, status, enter."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from bootstrap.host.commands import Command
from bootstrap.host.errors import FirstlightError, InputError, LockedError, Problem, WaitTimeoutError
from bootstrap.host.locks import is_held, kill_holder, try_lock
from rehearsal import control, namespaces
from rehearsal.monitor import State
from rehearsal.settings import FAILURE_FILE, SETTINGS_FILE, SOCKET_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bootstrap.host.commands import Daemon, ShCommandRunner
    from rehearsal.settings import LabSettings

# Tells a command inside the lab where the lab's files are.
FOLDER: Final = "FIRSTLIGHT_LAB"
# Cold: images of 1.1 GB are written and pushed; four minutes of it are the machine's boot on a busy host.
UP_SECONDS: Final = 600.0
# Ending QEMU and the servers takes a second; their grace period is five.
DOWN_SECONDS: Final = 20.0
# Asked for its state, or to stop, the supervisor answers at once unless the machine swaps.
STATUS_SECONDS: Final = 15.0
# With fewer bytes even the supervisor's last words may have found no room.
FULL_DISK: Final = 1_000_000
# Three scripts of the recipe with ten minutes each; cached, it takes a second.
PREPARE_SECONDS: Final = 1800.0


@dataclass(frozen=True)
class Status:
    """What is known about the lab of this user."""

    running: bool
    owner: Mapping[str, str]
    state: str
    doing: str
    machines: tuple[Mapping[str, Any], ...]
    snapshots: tuple[str, ...]


class Lab:
    """The one lab of this user and machine.

    Args:
        cache: the tool's cache folder.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache / "lab"
        self.folder = self.cache / "run"
        self._lock = self.cache / "lock"

    @property
    def socket(self) -> Path:
        """The supervisor's control socket."""
        return self.folder / SOCKET_FILE

    def owner(self) -> dict[str, str]:
        """Who runs it: root, cluster, since, inputs; empty when nobody does."""
        if not self._lock.exists():
            return {}
        with self._lock.open() as file:
            if not is_held(file):
                return {}
            held: dict[str, str] = json.loads(file.read() or "{}")
        return held or {"root": "unknown"}

    def status(self) -> Status:
        """Whether it runs and what it does."""
        owner = self.owner()
        if not owner:
            return Status(running=False, owner={}, state="down", doing="", machines=(), snapshots=())
        if control.supervisor_pid(self.socket) is None:
            return Status(running=True, owner=owner, state="starting", doing="", machines=(), snapshots=())
        answer = control.ask(self.socket, "status", patience=STATUS_SECONDS)
        machines, snapshots = tuple(answer["machines"]), tuple(answer["snapshots"])
        return Status(
            running=True,
            owner=owner,
            state=answer["state"],
            doing=answer["doing"],
            machines=machines,
            snapshots=snapshots,
        )

    def check_owner(self, root: Path, cluster: str) -> None:
        """Refuse a lab of another worktree or cluster.

        Raises:
            InputError: such a lab runs.
        """
        owner = self.owner()
        if owner and (owner.get("root"), owner.get("cluster")) != (str(root), cluster):
            text = f"it belongs to cluster {owner.get('cluster')} of {owner.get('root')}, since {owner.get('since')}"
            problem = Problem(text, remedy=f"{owner.get('root')}/invoke lab.down")
            raise InputError("a lab of another worktree is running", (problem,))

    def up(self, settings: LabSettings, runner: ShCommandRunner, report: Callable[[str], None]) -> bool:
        """Start the lab, or join the one that runs for the same worktree and inputs.

        Returns:
            Whether it had to be started.

        Raises:
            InputError: a lab of another worktree or with other inputs runs, or one whose machine does not.
            FirstlightError: it did not come up.
        """
        self.check_owner(settings.root, settings.cluster)
        owner = self.owner()
        if owner:
            if owner.get("inputs") != settings.inputs:
                problem = Problem(
                    "machines, image or programs changed since it was started", remedy="./invoke lab.down"
                )
                raise InputError("the running lab is not what the files describe", (problem,))
            if settings.charts and owner.get("charts") != str(settings.charts):
                text = f"it publishes those of {owner.get('charts', 'lab/charts alone')}, not of {settings.charts}"
                problem = Problem(text, remedy="./invoke lab.down")
                raise InputError("the running lab has other charts", (problem,))
            self._await_ready(report, lambda: bool(self.owner()))
            self._refuse_trouble()
            return False
        supervisor = self._start(settings, runner)
        self._await_ready(report, lambda: supervisor.running)
        return True

    def _refuse_trouble(self) -> None:
        troubled = [machine for machine in self.status().machines if machine["trouble"]]
        if troubled:
            problems = tuple(Problem(f"{machine['name']}: {machine['trouble']}") for machine in troubled)
            raise InputError("the running lab has a machine that does not run", problems, remedy=_way_out(troubled))

    @contextmanager
    def starting(self, report: Callable[[str], None]) -> Iterator[None]:
        """Be the only command that prepares and starts the lab; whoever comes second waits until it can join.

        Raises:
            WaitTimeoutError: another command neither starts the lab nor gives up.
        """
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / "starting").open("w") as file:
            deadline = time.monotonic() + PREPARE_SECONDS
            told = False
            while not try_lock(file) and not self.owner():
                if not told:
                    report("another command is preparing the lab: waiting for it")
                    told = True
                if time.monotonic() > deadline:
                    raise WaitTimeoutError("another command is preparing the lab and does not get done")
                time.sleep(0.2)  # a local lock: asking five times a second costs nothing
            yield

    def ask(self, request: str, **arguments: Any) -> object:
        """Ask the running lab for something.

        Raises:
            FirstlightError: no lab is running, or it refuses.
        """
        if not self.owner():
            raise FirstlightError("no lab is running", remedy="./invoke lab.up")
        return control.ask(self.socket, request, **arguments)

    def down(self) -> bool:
        """End the lab and remove everything it made at run time; whether there was one."""
        was_running = bool(self.owner())
        if not was_running:
            self._clean()
            return False
        began, insisted = time.monotonic(), False
        while self.owner():
            with suppress(FirstlightError):  # it may not listen yet, or end while it is asked
                control.ask(self.socket, "stop", patience=STATUS_SECONDS)
            waited = time.monotonic() - began
            if waited > DOWN_SECONDS and not insisted:
                kill_holder(self._lock)
                insisted = True
            if waited > 2 * DOWN_SECONDS:
                raise FirstlightError("the lab does not end", cause=f"{self._lock} is still held")
            time.sleep(0.05)  # a local lock: asking often costs nothing
        shutil.rmtree(self.folder, ignore_errors=True)
        return True

    def _clean(self) -> None:
        """Remove what a lab that was killed left, unless a command is about to start one there."""
        if not self.folder.exists():
            return
        with (self.cache / "starting").open("w") as file:
            if not try_lock(file):
                raise LockedError(
                    "another command is preparing the lab", remedy="end that command, then ./invoke lab.down"
                )
            shutil.rmtree(self.folder, ignore_errors=True)

    def enter(self, command: Sequence[str]) -> NoReturn:
        """Run a command inside the lab and end as it ends.

        Raises:
            FirstlightError: there is no lab.
        """
        pid = control.supervisor_pid(self.socket)
        if pid is None:
            raise FirstlightError("no lab is running", remedy="./invoke lab.up")
        trust = str(self.folder / "trust.crt")
        environment = {
            **os.environ, "SSL_CERT_FILE": trust, "GIT_SSL_CAINFO": trust, "OP_CONNECT_HOST": "http://opconnect.monosense.dev",
            "OP_CONNECT_TOKEN": str(control.ask(self.socket, "token")),
            FOLDER: str(self.folder),
        }  # fmt: skip
        environment.pop("SSL_CERT_DIR", None)
        namespaces.enter(pid, command, environment)

    def _start(self, settings: LabSettings, runner: ShCommandRunner) -> Daemon:
        owner = {
            "root": str(settings.root), "cluster": settings.cluster, "inputs": settings.inputs,
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            **({"charts": str(settings.charts)} if settings.charts else {}),
            **({"rehearsal": "REHEARSAL, the real cluster is not asked"} if settings.rehearsal else {}),
        }  # fmt: skip
        self._lock.write_text(json.dumps(owner))
        (self.folder / SETTINGS_FILE).write_text(settings.to_json())
        supervisor = (
            sys.executable,
            "-m",
            "rehearsal.supervisor",
            str(self.folder / SETTINGS_FILE),
            str(self._lock),
        )
        arguments = (*namespaces.unshare_arguments(), *supervisor)
        code = str(Path(__file__).resolve().parent.parent)
        # Image layers pass through temporary files: beside the lab there is room, and they go when it goes.
        scratch = self.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        environment = {"PYTHONPATH": code, "TMPDIR": str(scratch)}
        command = Command(settings.programs["unshare"], arguments, environment, folder=settings.root)
        return runner.start(command, log=self.folder / "supervisor.log")

    def _await_ready(self, report: Callable[[str], None], lives: Callable[[], bool]) -> None:
        deadline = time.monotonic() + UP_SECONDS
        last = ""
        while True:
            lived = lives()
            state, doing = self._ask_state(lived=lived)
            if state == "ready":
                return
            if doing != last:
                last = doing
                report(doing)
            if time.monotonic() > deadline:
                raise FirstlightError(
                    "the lab did not come up",
                    cause=f"still {last} after {UP_SECONDS:g} s",
                    remedy="./invoke lab.down",
                )
            time.sleep(0.1)  # a local socket: asking ten times a second costs nothing

    def _ask_state(self, *, lived: bool) -> tuple[str, str]:
        failure = self.folder / FAILURE_FILE
        if failure.exists():
            seen = json.loads(failure.read_text())
            remedy = seen["remedy"] or f"look at {self.folder}/supervisor.log"
            raise FirstlightError(seen["fact"], cause=seen["cause"], remedy=remedy)
        if not lived:
            raise self._ended()
        if control.supervisor_pid(self.socket) is None:
            return "starting", "starting the lab"
        try:
            answer = control.ask(self.socket, "status", patience=STATUS_SECONDS)
        except FirstlightError as error:  # it may be ending; whether it lives is asked again
            return "starting", str(error)
        return str(answer["state"]), str(answer["doing"])

    def _ended(self) -> FirstlightError:
        if shutil.disk_usage(self.cache).free < FULL_DISK:
            return FirstlightError("the lab's supervisor ended", cause=f"the disk is full at {self.cache}")
        log = self.folder / "supervisor.log"
        try:
            lines = log.read_text(errors="replace").splitlines() or ["it printed nothing"]
        except OSError:
            return FirstlightError("the lab was ended while it started", remedy="./invoke lab.up")
        return FirstlightError("the lab's supervisor ended", cause=lines[-1], remedy=f"look at {log}")


def _way_out(troubled: Sequence[Mapping[str, Any]]) -> str:
    if all(machine["state"] == State.DISK_FULL for machine in troubled):
        return "make room there, then the machine goes on by itself; or ./invoke lab.down"
    return "./invoke lab.down"
