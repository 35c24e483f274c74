"""The journal as a file: lines of JSON, each with a checksum over itself and, through its predecessor, all before it.

A line is `{"n":..,"at":..,"kind":..,"holds":{..},"sum":".."}` and a line feed. A missing, swapped or altered line
breaks the chain; only what stands after the last line feed may be broken, because a kill leaves it so: no effect
followed it, so it is dropped. What the records mean is said in `journal_contents`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from bootstrap.host.errors import FirstlightError, InputError, Problem, UnrecordedError
from bootstrap.host.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

# Raised when this version's reader would misread what a later one writes.
SCHEMA: Final = 1
HEADER: Final = "header"
REBUILD: Final = (
    "bootstrap with --rebuild-journal: it moves this one aside and begins another; the world is probed anyway"
)

# How every journal begins; a shorter file is one only when it is the beginning of this.
_START: Final = b'{"n":1,"at":"'
_LINE: Final = re.compile(rb'(\{.*),"sum":"([0-9a-f]{16})"\}')


@dataclass(frozen=True)
class Entry:
    """One record: what happened, when by the wall clock, and its fields as JSON has them."""

    kind: str
    at: datetime
    holds: Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """What a file holds.

    Attributes:
        entries: the header and all records after it; empty when there is no file or not even a whole header.
        size: bytes up to the end of the last whole line.
        torn: bytes after that; a record whose effect was never begun.
        checksum: of the last whole line.
    """

    entries: tuple[Entry, ...] = ()
    size: int = 0
    torn: int = 0
    checksum: str = ""


@dataclass(frozen=True)
class Disk:
    """How bytes get to disk."""

    write: Callable[[int, bytes], int] = os.write
    sync: Callable[[int], None] = os.fdatasync


def read(path: Path) -> Kept:
    """Read a journal, whoever writes to it meanwhile; a file that is not there is empty.

    Raises:
        InputError: it cannot be read, is damaged, is no journal, or was written by a later version.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            # A device gives no end, or keeps nothing.
            raise InputError("the journal cannot be read", cause=f"no regular file: {path}", remedy=_permission(path))
        content = path.read_bytes()
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        raise InputError("the journal cannot be read", cause=_of(error, path), remedy=_permission(path)) from None
    *lines, tail = content.split(b"\n")
    if not lines and tail[: len(_START)] != _START[: len(tail)]:
        raise damaged(path, 1, "it is no journal")
    entries: list[Entry] = []
    checksum = ""
    if lines:
        _refuse_later(path, lines[0])
    for number, line in enumerate(lines, start=1):
        entry, checksum = _decode(line, number, checksum, path)
        entries.append(entry)
    return Kept(tuple(entries), len(content) - len(tail), len(tail), checksum)


def damaged(path: Path, line: int, text: str) -> InputError:
    """The refusal of a file that cannot be trusted.

    Args:
        path: of the journal.
        line: the first that is wrong.
        text: what is wrong with it.
    """
    return InputError("the journal is damaged", (Problem(text, str(path), line),), remedy=REBUILD)


def encode(entries: Iterable[Entry], *, number: int = 0, checksum: str = "") -> tuple[bytes, str]:
    """Records as lines, and the checksum of the last.

    Args:
        entries: in their order.
        number: of the line before.
        checksum: of the line before.
    """
    lines: list[bytes] = []
    for place, entry in enumerate(entries, start=number + 1):
        at = entry.at.isoformat(timespec="milliseconds")
        body = json.dumps(
            {"n": place, "at": at, "kind": entry.kind, "holds": entry.holds}, separators=(",", ":")
        ).encode()
        checksum = _checksum(checksum, body)
        lines.append(b'%b,"sum":"%b"}\n' % (body[:-1], checksum.encode()))
    return b"".join(lines), checksum


def create(path: Path, entries: Iterable[Entry]) -> None:
    """Write a journal in one go, over whatever is there.

    Raises:
        FirstlightError: it could not be brought to disk; what was there is untouched.
    """
    try:
        write_atomically(path, encode(entries)[0], mode=0o600)
    except OSError as error:
        raise unwritable(error, path) from None


def set_aside(path: Path, now: datetime) -> Path | None:
    """Rename a journal to `journal.jsonl.damaged-<time>`; None when there is none.

    Raises:
        FirstlightError: the folder cannot be written.
    """
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S.%f}Z")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unwritable(error, path) from None
    return aside


def refuse_unwritable(path: Path) -> None:
    """Refuse a journal that could not be written, before anything is done; root, too, minds mode and owner.

    Raises:
        InputError: file or folder is read-only or not ours; names path, mode and owner.
    """
    problems: list[Problem] = []
    for place in (path.parent, path):
        try:
            found = place.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(Problem(error.strerror or str(error), str(place), remedy=_permission(place)))
            continue
        told = f"mode {stat.S_IMODE(found.st_mode):04o}, owner uid {found.st_uid}"
        if found.st_uid != os.geteuid():
            text, remedy = f"it is not ours (uid {os.geteuid()}): {told}", f"sudo chown {os.geteuid()} {place}"
        elif not found.st_mode & stat.S_IWUSR:
            text, remedy = f"it is read-only: {told}", f"chmod u+w {place}"
        elif not os.access(place, os.W_OK):
            text, remedy = f"its file system is read-only: {told}", "work where the folder can be written"
        else:
            continue
        problems.append(Problem(text, str(place), remedy=remedy))
    if problems:
        raise InputError("the journal cannot be written", tuple(problems))


def unwritable(error: OSError, path: Path) -> FirstlightError:
    """Why no effect may follow: what announces it could not be brought to disk."""
    remedy = f"free space at {path.parent} or make it writable; then run the same command again"
    return UnrecordedError("the journal cannot be written", cause=_of(error, path), remedy=remedy)


class Appender:
    """Appends records to a journal; after a write that failed, or after `close`, nothing is written any more.

    Args:
        path: the journal, at least with its header.
        kept: what it holds; a torn tail is cut off.
        wall: the wall clock.
        disk: how bytes get to disk.

    Raises:
        FirstlightError: it cannot be opened for writing.
    """

    def __init__(self, path: Path, kept: Kept, *, wall: Callable[[], datetime], disk: Disk) -> None:
        self._path = path
        self._wall = wall
        self._disk = disk
        self._number = len(kept.entries)
        self._checksum = kept.checksum
        self._lock = threading.Lock()
        self._failed: OSError | None = None
        try:
            self._descriptor: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            if kept.torn:
                os.ftruncate(self._descriptor, kept.size)
        except OSError as error:
            raise unwritable(error, path) from None

    def append(self, kind: str, holds: Mapping[str, Any], *, durable: bool) -> None:
        """Write one record.

        Args:
            kind: of the record.
            holds: its fields.
            durable: whether it is on disk, with all before it, when this returns.

        Raises:
            FirstlightError: this write failed, or one before it, or the journal was closed.
        """
        with self._lock:
            if self._descriptor is None:
                raise unwritable(OSError(errno.EBADF, "the run has ended"), self._path)
            if self._failed is None:
                try:
                    self._append(self._descriptor, Entry(kind, self._wall(), holds), durable=durable)
                except OSError as error:
                    # What follows a half-written line would be taken for damage, so nothing follows.
                    self._failed = error
            if self._failed is not None:
                raise unwritable(self._failed, self._path)

    def _append(self, descriptor: int, entry: Entry, *, durable: bool) -> None:
        line, checksum = encode([entry], number=self._number, checksum=self._checksum)
        written = self._disk.write(descriptor, line)
        if written != len(line):
            raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes were taken")
        if durable:
            self._disk.sync(descriptor)
        self._number, self._checksum = self._number + 1, checksum

    @property
    def trouble(self) -> str:
        """Why nothing is written any more; empty while all is well."""
        return _of(self._failed, self._path) if self._failed else ""

    def close(self) -> None:
        """Bring everything to disk; a thread that still has something to say is not heard."""
        with self._lock:
            if self._descriptor is None:
                return
            try:
                self._disk.sync(self._descriptor)
            except OSError as error:
                self._failed = self._failed or error
            os.close(self._descriptor)
            self._descriptor = None


def _decode(line: bytes, number: int, before: str, path: Path) -> tuple[Entry, str]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise damaged(path, number, "it is no journal" if number == 1 else "this is no line of a journal")
    body, checksum = match[1] + b"}", match[2].decode()
    try:
        raw = json.loads(body)
        entry = Entry(raw["kind"], datetime.fromisoformat(raw["at"]), dict(raw["holds"]))
        place = int(raw["n"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise damaged(path, number, "this is no record") from None
    if place != number:
        raise damaged(path, number, f"this is record {place}; {number} is missing or stands elsewhere")
    if checksum != _checksum(before, body):
        raise damaged(path, number, "the checksum does not fit this record and those before it")
    if (number == 1) != (entry.kind == HEADER):
        raise damaged(path, number, "a journal has one header, as its first record")
    return entry, checksum


def _refuse_later(path: Path, line: bytes) -> None:
    """What a later version wrote may have other checksums, so its header is asked first."""
    try:
        holds = json.loads(line)["holds"]
        schema, tool = holds["schema"], holds["tool"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    if isinstance(schema, int) and schema > SCHEMA:
        text = f"it has schema {schema}, written by version {tool}; this version reads up to {SCHEMA}"
        raise InputError(
            "the journal was written by a later version",
            (Problem(text, str(path), 1),),
            remedy=f"use version {tool}, or {REBUILD}",
        )


def _checksum(before: str, body: bytes) -> str:
    # 64 bits: for accidents, not against an adversary, who could write the whole file anew.
    return hashlib.blake2b(before.encode() + body, digest_size=8).hexdigest()


def _of(error: OSError, path: Path) -> str:
    return f"{error.strerror or error}: {path}"


def _permission(path: Path) -> str:
    return f"look at its kind, mode and owner: ls -la {path}"
