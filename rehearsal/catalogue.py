"""The accidents that can happen to a lab, each with what it does and what the tool should make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host.errors import ExitCode, InputError
from bootstrap.host.names import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

# The run ended well in spite of it.
WELL: Final = frozenset({ExitCode.DONE})
# The run refused before it changed anything.
REFUSED: Final = frozenset({ExitCode.INVALID})
# The run ended without success, by an error of its own or by the end of its patience.
STOPPED: Final = frozenset({ExitCode.FAILED, ExitCode.INVALID, ExitCode.TIMED_OUT})
# What the journal of a run holds from the moment on at which a machine has its configuration.
APPLIED: Final = "apply the machine configuration to "


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One accident.

    Attributes:
        name: on the command line.
        does: what happens; completes "the fault is that ...".
        counted: what one count of it is, in the plural.
        wanted: what the tool should do.
        ends: exit codes that a rehearsal with it may end with.
        begins: text of a journal record after which a rehearsal lets it happen; empty for before the run.
        lasts: seconds after which a rehearsal mends it; 0 for not before the end.
        seconds: how long or how far, where the fault has such a measure and nobody gave another.
        exchanges: whether another machine stands in the machine's place.
    """

    name: str
    does: str
    counted: str
    wanted: str
    ends: frozenset[ExitCode]
    begins: str = ""
    lasts: float = 0.0
    seconds: float = 0.0
    exchanges: bool = False


# Seconds until a rehearsal mends what the tool should wait for: some of its looks at machines see it, few are lost.
PASSING: Final = 40.0

_FAULTS: Final = (
    Fault(
        name="reset", does="the machine's reset button is pressed", counted="resets",
        wanted="follow the machine through its boot and go on", ends=WELL, begins=APPLIED, lasts=PASSING,
    ),
    Fault(
        name="reboot-loop", does="the machine's reset button is pressed again and again", counted="resets",
        wanted="stop, name the machine and show the end of its kernel log", ends=STOPPED, begins=APPLIED,
        # Longer than a boot to an answering API under emulation, so that every boot is seen.
        seconds=90.0,
    ),
    Fault(
        name="power-off", does="the machine is switched off; mended, it is switched on", counted="times switched off",
        wanted="wait for it, then go on", ends=WELL, lasts=PASSING,
    ),
    Fault(
        name="pause", does="the machine's processors stand still", counted="pauses",
        wanted="wait for it, then go on", ends=WELL, lasts=PASSING,
    ),
    Fault(
        name="link-down", does="the cable of the machine's first network card is pulled", counted="cables pulled",
        wanted="name the bond's member that is down", ends=STOPPED, begins=APPLIED,
    ),
    Fault(
        name="partner-missing", does="the switch does not answer the machine's LACP", counted="partners taken away",
        wanted="name the missing LACP partner before anything else is blamed", ends=STOPPED,
    ),
    Fault(
        name="unreachable", does="no packet reaches the machine's Talos API", counted="packets dropped",
        wanted="wait, let the other machines proceed, then go on", ends=WELL, lasts=PASSING,
    ),
    Fault(
        name="half-open", does="the machine's Talos API accepts connections and never answers",
        counted="packets dropped", wanted="end every call by its own limit, wait, then go on", ends=WELL, lasts=PASSING,
    ),
    Fault(
        name="closed", does="the machine's Talos API refuses connections", counted="connections refused",
        wanted="wait, then go on", ends=WELL, lasts=PASSING,
    ),
    Fault(
        name="registry-down", does="the registry refuses connections", counted="connections refused",
        wanted="wait while the machines try again, then go on", ends=WELL, lasts=PASSING,
    ),
    Fault(
        name="clock", does="the time server is ahead by the seconds given", counted="answers falsified",
        wanted="say that a clock is wrong, not that a certificate is", ends=STOPPED, seconds=7200.0,
    ),
    Fault(
        name="time-silent", does="the time server does not answer", counted="questions dropped",
        wanted="say that time is not in sync and name the time server; go on when it is", ends=WELL, lasts=PASSING,
    ),
    Fault(
        name="foreign-secrets", does="the machine is configured with the secrets of another cluster",
        counted="machines configured", wanted="refuse the machine and leave it as it is", ends=REFUSED,
    ),
    Fault(
        name="other-disk", does="a machine with another disk stands in the machine's place",
        counted="machines exchanged", wanted="refuse the machine before it is configured", ends=REFUSED,
        exchanges=True,
    ),
    Fault(
        name="used-disk", does="a machine whose disk holds somebody's encrypted volume stands in the machine's place",
        counted="machines exchanged", wanted="refuse the machine before its disk is written", ends=REFUSED,
        exchanges=True,
    ),
    Fault(
        name="other-mac", does="a machine with other hardware addresses stands in the machine's place",
        counted="machines exchanged", wanted="refuse the machine before it is configured", ends=REFUSED,
        exchanges=True,
    ),
)  # fmt: skip
FAULTS: Final[Mapping[str, Fault]] = {fault.name: fault for fault in _FAULTS}


def find(name: str) -> Fault:
    """The fault of a name.

    Raises:
        InputError: there is none; names the nearest.
    """
    if name not in FAULTS:
        cause = nearest(name, FAULTS)
        raise InputError(f'there is no fault "{name}"', cause=cause, remedy="./invoke rehearse --list-faults")
    return FAULTS[name]


def as_table() -> str:
    """All of them, for a person."""
    width = max(len(name) for name in FAULTS)
    return "".join(
        f"{name:<{width}}  {fault.does}\n{'':<{width}}  -> {fault.wanted}\n" for name, fault in FAULTS.items()
    )
