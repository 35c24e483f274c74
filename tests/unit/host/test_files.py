"""Files in memory, for programs that want a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootstrap.host.files import memory_file


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
