"""The lab's cache: folders that are named after what they are made of, and when they go again."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A folder is `<kind>-<key>`: boot assets, machines in maintenance mode, QEMU, the registry's content.
IMAGE, TEMPLATE, EMULATOR, REGISTRY = KINDS = ("image", "maintenance", "qemu", "registry")
# Two weeks: a branch that rested for a holiday finds its image again, and making all of it anew takes a minute.
KEPT_SECONDS: Final = 14 * 86400.0
# Worktrees and branches take turns, seldom more than three; each leaves 1.4 GB here, a QEMU not counted.
SPARE: Final = 2


def keep(cache: Path, used: Iterable[Path]) -> None:
    """Mark folders as used, and remove others that were not used for two weeks, or are more than two of a kind.

    Only whoever is about to start the lab may do this: while one runs, its folders are in use.

    Args:
        cache: the folder that holds them.
        used: folders of the lab that is about to start; they need not be there yet, those elsewhere are left alone.
    """
    ours = {folder for folder in used if folder.parent == cache and folder.exists()}
    for folder in ours:
        os.utime(folder)
    oldest = time.time() - KEPT_SECONDS
    for kind in KINDS:
        others = sorted((path for path in cache.glob(f"{kind}-*") if path not in ours), key=_last_use, reverse=True)
        for place, folder in enumerate(others):
            if place >= SPARE or _last_use(folder) < oldest:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def workspace(cache: Path, kind: str) -> Iterator[Path]:
    """A folder to make another one in, on the same disk; gone afterwards.

    What a killed maker of the same kind left is removed, so callers hold a lock.

    Args:
        cache: the folder that holds it.
        kind: what is made.
    """
    prefix = f"building-{kind}."
    cache.mkdir(parents=True, exist_ok=True)
    for left in cache.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _last_use(folder: Path) -> float:
    return folder.stat().st_mtime
