"""Files that are never half-written, and files in memory for programs that want a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootstrap.host.files import memory_file, write_atomically


def test_a_memory_file_can_be_read_by_its_path_and_changed_by_nobody() -> None:
    descriptor = memory_file("certificate", b"-----BEGIN")
    try:
        path = Path(f"/dev/fd/{descriptor}")
        # What a connection of this process that was closed would send, should it know the descriptor's number.
        with pytest.raises(PermissionError):
            os.write(descriptor, b"\x15\x03\x01")
        with pytest.raises(PermissionError), path.open("r+b", buffering=0) as file:
            file.truncate(0)
        assert path.read_bytes() == b"-----BEGIN"
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("content", "mode", "replaced"),
    [(b"same", 0o600, False), (b"othr", 0o600, True), (b"longer", 0o600, True), (b"same", 0o644, True)],
)
def test_a_file_that_is_already_so_is_left_alone(tmp_path: Path, content: bytes, mode: int, *, replaced: bool) -> None:
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"same", mode=0o600)
    before = path.stat().st_ino
    keeping = path.open("rb")
    write_atomically(path, content, mode=mode)
    assert (path.stat().st_ino != before) is replaced
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (content, mode)
    keeping.close()


def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "file"
    other.write_bytes(b"same")
    other.chmod(0o600)
    path.symlink_to(other)
    write_atomically(path, b"same", mode=0o600)
    assert not path.is_symlink()
    assert other.read_bytes() == b"same"
