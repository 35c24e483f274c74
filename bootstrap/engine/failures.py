"""What the failure of a program means, told from its last words, where no package knows the program better.

Go, curl and libgit name the troubles of a network in the same few phrases, so one table of phrases serves all
programs. Programs that only read and write files have no such troubles: they fail, or they do not.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bootstrap.host.commands import CommandError

# Programs of a run that ask others over a network; helm is run by helmfile, whose words are then helm's.
NETWORKED: Final = ("git", "helmfile", "op")
LOCAL: Final = ("kubeconform", "kustomize", "talosctl", "yq")


class ProgramFailure(StrEnum):
    """The kinds of failure."""

    NO_CODE = "no_code"
    """It could not be started, or a signal ended it."""
    TIMED_OUT = "timed_out"
    FAILED = "failed"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    DENIED = "denied"
    NETWORK = "network"


LOCAL_FAILURES: Final = (ProgramFailure.NO_CODE, ProgramFailure.TIMED_OUT, ProgramFailure.FAILED)

# A bare number may as well be a line of a template, so a status wants a word before it.
_STATUS: Final = r"(?:status|code|error|response|returned|HTTP/[\d.]+):? "
# Order matters: a proxy that says 503 often says in the same text that nothing could be reached.
_PHRASES: Final = tuple(
    (failure, re.compile(pattern, re.IGNORECASE))
    for failure, pattern in (
        (ProgramFailure.THROTTLED, rf"{_STATUS}429\b|too ?many ?requests"),
        (ProgramFailure.UNAVAILABLE, rf"{_STATUS}50[0234]\b|service unavailable|bad gateway|gateway time-?out"),
        (ProgramFailure.UNAVAILABLE, r"internal server error|server is currently unable"),
        (ProgramFailure.DENIED, rf"{_STATUS}40[13]\b|unauthorized|(?:permission|access) denied|authentication failed"),
        (ProgramFailure.DENIED, r"authentication required|could not read username"),
        (ProgramFailure.NETWORK, r"connection (?:refused|reset|timed out|lost)|no such host|could not resolve host"),
        (ProgramFailure.NETWORK, r"i/o timeout|handshake timeout|unexpected EOF|no route to host|is unreachable"),
        (ProgramFailure.NETWORK, r"temporary failure in name resolution|server misbehaving|failed to connect"),
        (ProgramFailure.NETWORK, r"context deadline exceeded|cluster unreachable"),
    )
)


def error_class(program: str, error: CommandError) -> str:
    """The row of the table of retries that a program's failure belongs to; empty for a program without rows."""
    if program not in NETWORKED + LOCAL:
        return ""
    return f"{program}/{_failure(program, error)}"


def _failure(program: str, error: CommandError) -> ProgramFailure:
    if error.timed_out:
        return ProgramFailure.TIMED_OUT
    if error.exit_code_seen is None:
        return ProgramFailure.NO_CODE
    if program in LOCAL:
        return ProgramFailure.FAILED
    text = f"{error.stderr}\n{error.stdout}\n{error.cause}"
    return next((failure for failure, pattern in _PHRASES if pattern.search(text)), ProgramFailure.FAILED)
