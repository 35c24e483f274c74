"""A run that is refused because another one works on the cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bootstrap.engine.lock import Owner, RunLock
from bootstrap.host.errors import LockedError
from inventory.loader import load
from phases.session import Request, run

ROOT = Path(__file__).parents[3]


def test_it_has_touched_nothing_and_looked_at_nothing(tmp_path: Path) -> None:
    # Nothing but the lock is there: whatever the run looked at before it would fail in another way.
    request = Request(root=tmp_path, cache=tmp_path / "cache", cluster=load(ROOT, "lab"), command="./invoke bootstrap")
    folder = tmp_path / ".firstlight" / "lab"
    owner = Owner.of_this_process("run-1", "./invoke bootstrap --cluster lab", datetime.now(UTC))
    with RunLock(folder, owner, cluster="lab"):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(LockedError, match="another run works on cluster lab"):
            run(request)
        assert sorted(tmp_path.rglob("*")) == before
