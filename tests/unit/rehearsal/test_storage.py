"""The lab's cache keeps what is used, a little of what was used lately, and nothing else."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from rehearsal.storage import KEPT_SECONDS, keep, workspace

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400.0


def make(cache: Path, name: str, *, days: float) -> Path:
    """A folder that was used so many days ago."""
    folder = cache / name
    (folder / "inside").mkdir(parents=True)
    then = time.time() - days * DAY
    os.utime(folder, (then, then))
    return folder


def test_old_folders_go_and_new_ones_stay(tmp_path: Path) -> None:
    for kind in ("image", "maintenance", "qemu", "registry"):
        make(tmp_path, f"{kind}-used", days=100)
        make(tmp_path, f"{kind}-new", days=13)
        make(tmp_path, f"{kind}-old", days=15)
    make(tmp_path, "ca", days=100)
    keep(tmp_path, [tmp_path / f"{kind}-used" for kind in ("image", "maintenance", "qemu", "registry")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ca", "image-new", "image-used", "maintenance-new", "maintenance-used", "qemu-new", "qemu-used",
        "registry-new", "registry-used",
    ]  # fmt: skip


def test_no_more_than_two_of_a_kind_stay_beside_what_is_used(tmp_path: Path) -> None:
    used = make(tmp_path, "registry-used", days=5)
    for days in (1, 2, 3, 4):
        make(tmp_path, f"registry-{days}", days=days)
    keep(tmp_path, [used])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["registry-1", "registry-2", "registry-used"]


def test_what_is_used_is_marked_and_what_is_elsewhere_is_not_touched(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    used, elsewhere = make(cache, "image-used", days=100), make(tmp_path, "bin", days=100)
    keep(cache, [used, elsewhere, cache / "registry-that-is-not-there-yet"])
    assert used.stat().st_mtime > time.time() - DAY
    assert elsewhere.stat().st_mtime < time.time() - KEPT_SECONDS


def test_what_a_killed_build_left_is_removed_and_our_own_too(tmp_path: Path) -> None:
    make(tmp_path, "building-image.left", days=0)
    make(tmp_path, "building-qemu.left", days=0)
    make(tmp_path, "image-of-another-recipe", days=0)
    with workspace(tmp_path, "image") as folder:
        (folder / "file").touch()
        left = {path.name for path in tmp_path.iterdir()} - {folder.name}
        assert left == {"building-qemu.left", "image-of-another-recipe"}
    assert not folder.exists()


def test_what_was_made_may_be_moved_away(tmp_path: Path) -> None:
    with workspace(tmp_path, "image") as folder:
        (folder / "made").mkdir()
        (folder / "made").rename(tmp_path / "image-1")
    assert (tmp_path / "image-1").is_dir()


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), workspace(tmp_path, "qemu"):
        raise ValueError("broken")
    assert not list(tmp_path.iterdir())
