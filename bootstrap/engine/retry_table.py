"""Which error is worth another attempt: every class of every program and API that a run calls, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bootstrap.engine.failures import LOCAL, NETWORKED, ProgramFailure

if TYPE_CHECKING:
    from collections.abc import Mapping


class Again(StrEnum):
    """Whether, and by whom, a call is tried again."""

    SOON = "soon"
    """The other side is there and may answer in a moment: inside the call, and by the step."""
    LATER = "later"
    """Something has to come back or come about first: by the step."""
    NEVER = "never"
    """The same call would get the same answer, or somebody has to decide."""


@dataclass(frozen=True)
class Row:
    """What an error class means for another attempt.

    Attributes:
        again: whether and by whom.
        reason: why; reads on after the error's own text.
        effect: whether the call that failed may have had an effect all the same.
    """

    again: Again
    reason: str
    effect: bool = False


NO_ROW: Final = Row(Again.NEVER, "nobody knows what it means", effect=True)

SOON, LATER, NEVER = Again.SOON, Again.LATER, Again.NEVER

_TALOSCTL: Final = {
    "maintenance": Row(NEVER, "the node has to be configured first"),
    "foreign": Row(NEVER, "the node is not of this cluster"),
    "unknown_authority": Row(NEVER, "another server answers; who it is has to be found out first"),
    "needs_client_certificate": Row(NEVER, "the question was asked without a certificate"),
    "certificate_dates": Row(LATER, "a clock that is set right makes the certificate valid"),
    "wrong_name": Row(NEVER, "the certificate does not change by itself"),
    "refused": Row(LATER, "the node boots, or its API restarts"),
    "cut_off": Row(LATER, "the node reboots, or its API restarts", effect=True),
    "unreachable": Row(LATER, "the node boots, or its network comes up"),
    "timed_out": Row(LATER, "packets around a reboot are lost without a word", effect=True),
    "not_in_sync": Row(LATER, "the node sets its clock within seconds of its boot"),
    "time_server": Row(LATER, "the time server may answer the next question"),
    "already_exists": Row(NEVER, "it is done already"),
    "not_available_yet": Row(LATER, "the node has not come far enough"),
    "busy": Row(LATER, "the node ends what it is at within seconds"),
    "etcd_not_started": Row(LATER, "etcd is started once the node is told or has joined"),
    "quorum": Row(LATER, "a member that starts brings the majority back"),
    "wrong_role": Row(NEVER, "a worker does not become a control plane"),
    "not_authorized": Row(NEVER, "the certificate's role does not change"),
    "invalid_config": Row(NEVER, "the configuration has to be changed"),
    "image": Row(LATER, "the registry may answer the next pull"),
    "not_supported": Row(NEVER, "this service never can"),
    "not_registered": Row(LATER, "services appear while the node boots"),
    "not_found": Row(NEVER, "it is not there"),
    "unhealthy": Row(LATER, "health is what is waited for"),
    "unimplemented": Row(NEVER, "this version of Talos never can"),
    "usage": Row(NEVER, "the call itself is wrong"),
    "unknown": Row(NEVER, "nobody knows what it means", effect=True),
}
_KUBERNETES: Final = {
    "unreachable": Row(LATER, "the API server is not up, or restarts", effect=True),
    "cut off": Row(SOON, "the connection was closed under the call", effect=True),
    "foreign identity": Row(NEVER, "this is not the API server of the kubeconfig"),
    "forbidden": Row(NEVER, "rights do not change by themselves"),
    "not found": Row(NEVER, "it is not there"),
    "conflict": Row(NEVER, "another manager owns the fields; who is right has to be decided"),
    "throttled": Row(SOON, "the server asks for a pause"),
    "unavailable": Row(SOON, "the server, or etcd behind it, is busy or elects a leader", effect=True),
    "expired": Row(LATER, "what was read in pages has to be read from its beginning"),
    "invalid": Row(NEVER, "the object has to be changed"),
}
_CONNECT: Final = {
    "unauthorized": Row(NEVER, "the token has to be renewed"),
    "forbidden": Row(NEVER, "the token may not read this vault"),
    "not_found": Row(NEVER, "there is no such vault or item"),
    "refused": Row(NEVER, "the question itself is wrong"),
    "throttled": Row(SOON, "the server asks for a pause"),
    "unavailable": Row(SOON, "it synchronises, or a proxy before it restarts"),
    "unreachable": Row(LATER, "it starts, or the network comes up"),
    "untrusted": Row(NEVER, "its certificate does not come from a trusted CA"),
    "unreadable": Row(NEVER, "something else than 1Password Connect answers"),
}
# A program that only reads and writes files.
_LOCAL: Final = {
    ProgramFailure.NO_CODE: Row(NEVER, "it cannot be started, or somebody ended it"),
    ProgramFailure.TIMED_OUT: Row(NEVER, "files are read in a fraction of the limit, or never"),
    ProgramFailure.FAILED: Row(NEVER, "the same files give the same error"),
}
_NETWORKED: Final = {
    ProgramFailure.NO_CODE: Row(NEVER, "it cannot be started, or somebody ended it", effect=True),
    ProgramFailure.TIMED_OUT: Row(LATER, "the other side did not answer in time", effect=True),
    ProgramFailure.FAILED: Row(NEVER, "the same input gives the same error", effect=True),
    ProgramFailure.THROTTLED: Row(LATER, "the other side asks for a pause", effect=True),
    ProgramFailure.UNAVAILABLE: Row(LATER, "the other side is busy or restarts", effect=True),
    ProgramFailure.DENIED: Row(NEVER, "rights do not change by themselves", effect=True),
    ProgramFailure.NETWORK: Row(LATER, "the other side is not up, or the network is not", effect=True),
}

TABLE: Final[Mapping[str, Row]] = {
    **{f"{program}/{failure}": row for program in LOCAL for failure, row in _LOCAL.items()},
    **{f"{program}/{failure}": row for program in NETWORKED for failure, row in _NETWORKED.items()},
    # Below the programs: what a node says weighs more than what is said of a program in general.
    **{f"talosctl/{name}": row for name, row in _TALOSCTL.items()},
    **{f"kubernetes/{name}": row for name, row in _KUBERNETES.items()},
    **{f"connect/{name}": row for name, row in _CONNECT.items()},
    "op/timed_out": Row(NEVER, "it waits for a person to unlock it"),
}
