"""Files that are never half-written."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file: write beside it, fsync, rename, fsync the folder. One that is already so is left alone.

    Args:
        path: the file; missing parent folders are made.
        content: all of it.
        mode: permission bits of the new file.

    Raises:
        OSError: disk full, read-only or not ours; the old file is then untouched.
    """
    # An fsync may wait for what others wrote to the disk as well.
    if _is_so(path, content, mode):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_so(path: Path, content: bytes, mode: int) -> bool:
    """Whether it is a file, no link, with such a content and such a mode."""
    try:
        found = path.lstat()
        return found.st_mode == stat.S_IFREG | mode and found.st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def memory_file(name: str, content: bytes) -> int:
    """An anonymous file in memory, for a program that wants a path: pass the descriptor on as `/dev/fd/N`.

    Args:
        name: shown in /proc only; holds no secret.
        content: what the program reads.

    Returns:
        The descriptor, at offset 0, sealed against writing; whoever asked for it closes it.
    """
    # Inheritable on purpose: the one starter of programs closes every descriptor that a child must not have.
    descriptor = os.memfd_create(name, os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    # Whoever it is handed to reads what was meant.
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor
