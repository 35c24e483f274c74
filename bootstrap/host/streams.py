"""Standard streams, and what becomes of them: a closed pipe, a closed terminal, a full disk."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

from bootstrap.host.errors import FirstlightError

if TYPE_CHECKING:
    from typing import TextIO

GONE: Final = select.POLLERR | select.POLLHUP


def silence_closed(*streams: TextIO) -> bool:
    """Lead streams that nobody reads any more to nowhere; whether there was one.

    Else a last word, or the interpreter's own flush at its end, would fail and change the exit code.
    """
    silenced = False
    for stream in streams:
        # Streams without a descriptor (a test's) lead nowhere already.
        with suppress(ValueError, OSError):
            descriptor = stream.fileno()
            if _is_gone(stream, descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
                silenced = True
    return silenced


def write_line(stream: TextIO, text: str) -> None:
    """A line for a person; when nobody reads any more, it goes nowhere, and so do all that follow."""
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError:
        silence_closed(stream)


def write_data(text: str) -> None:
    """Data on standard output, whole or with an error that says so.

    Raises:
        BrokenPipeError: nobody reads any more.
        FirstlightError: it cannot be written, for example because the disk is full.
    """
    try:
        sys.stdout.write(text)
        # Else the interpreter writes it at its end, when nobody can tell any more that it failed.
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence_closed(sys.stdout)
        raise unwritten(error) from None


def unwritten(error: OSError) -> FirstlightError:
    """What a person is told of data that could not be written."""
    return FirstlightError("standard output cannot be written", cause=error.strerror or str(error))


def leave(code: int, *streams: TextIO) -> NoReturn:
    """End the process at once, whatever its other threads do.

    Args:
        code: the exit code.
        streams: flushed before.
    """
    for stream in streams:
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _is_gone(stream: TextIO, descriptor: int) -> bool:
    try:
        stream.flush()
    except OSError:
        return True
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & GONE for _, events in poll.poll(0))
