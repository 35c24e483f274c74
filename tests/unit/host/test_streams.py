"""Streams whose reader has gone away."""

from __future__ import annotations

import io
import os
import pty
import subprocess  # noqa: TID251 # how an interpreter ends shows only in one of its own
import sys
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.errors import FirstlightError
from bootstrap.host.streams import silence_closed, write_data, write_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO


@pytest.fixture(params=["pipe", "terminal"])
def gone(request: pytest.FixtureRequest) -> Iterator[TextIO]:
    """A stream that nobody reads any more."""
    reader, writer = os.pipe() if request.param == "pipe" else pty.openpty()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        yield stream
        silence_closed(stream)


def test_a_stream_that_nobody_reads_leads_nowhere(gone: TextIO) -> None:
    assert silence_closed(gone)
    gone.write("a last word\n")
    gone.flush()
    assert not silence_closed(gone)


def test_one_that_has_failed_already_leads_nowhere_too(gone: TextIO) -> None:
    gone.write("unread\n")
    with pytest.raises(OSError, match=r"Broken pipe|Input/output"):
        gone.flush()
    assert silence_closed(gone)
    gone.flush()


def test_a_line_that_nobody_reads_is_no_error(gone: TextIO) -> None:
    write_line(gone, "one")
    write_line(gone, "two")


def test_data_that_finds_no_room_is_an_error_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 # a device
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(FirstlightError, match="standard output cannot be written: No space left on device"):
            write_data("a list")
        write_data("another")


def test_one_that_is_read_is_left_alone() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader) as read:
        assert not silence_closed(stream, io.StringIO())
        write_line(stream, "a word")
        assert read.readline() == "a word\n"


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_an_interpreter_ends_with_its_own_code(name: str) -> None:
    script = f"""
import sys
from bootstrap.host.streams import silence_closed
sys.{name}.write("unread")
silence_closed(sys.stdout, sys.stderr)
sys.exit(7)
"""
    reader, writer = os.pipe()
    os.close(reader)
    # Buffered, as it is unless somebody asks for the opposite.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    other = {"stdout": "stderr", "stderr": "stdout"}[name]
    streams = {name: writer, other: subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, **streams)  # type: ignore[call-overload]
    os.close(writer)
    said = b"".join(part for part in process.communicate() if part)
    assert (process.returncode, said) == (7, b"")
