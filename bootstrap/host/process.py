"""Processes as others recognise them: on which boot, in which PID namespace, by which number."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import NamedTuple

BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE_FILE = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class Process:
    """A process by its place.

    Attributes:
        host: name of the machine.
        boot: the kernel's id of this boot; empty where there is none.
        namespace: inode of the PID namespace in which `pid` has its meaning; 0 where there is none.
        pid: its number there.
    """

    host: str
    boot: str
    namespace: int
    pid: int

    @property
    def is_surely_dead(self) -> bool:
        """Whether it has ended, as far as this process can know: only of its own boot and PID namespace."""
        here = this_process()
        if not self.boot or (self.boot, self.namespace) != (here.boot, here.namespace):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        stat = read_stat(str(self.pid))
        return stat is not None and stat.is_dead


def this_process() -> Process:
    """The calling process."""
    boot, namespace = "", 0
    with suppress(OSError):
        boot = BOOT_FILE.read_text().strip()
        namespace = NAMESPACE_FILE.stat().st_ino
    return Process(socket.gethostname(), boot, namespace, os.getpid())


def user_name() -> str:
    """Who runs this process; the number where it has no name."""
    try:
        return getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class Stat(NamedTuple):
    """What the kernel says of a process: whether only its end is left to be seen, and its process group."""

    is_dead: bool
    group: int


def read_stat(pid: str) -> Stat | None:
    """What the kernel says of a process of this PID namespace; None when it is gone or hidden."""
    try:
        # pid (name) state parent group ...; the name may hold anything, proc_pid_stat(5)
        state, _, group = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return None
    return Stat(state == "Z", int(group))
