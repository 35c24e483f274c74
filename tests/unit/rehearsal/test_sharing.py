"""What gives way to what on the host's processors."""

from __future__ import annotations

from pathlib import Path

from bootstrap.host.commands import Command
from rehearsal.sharing import give_way
from rehearsal.waiting import wait_for
from tests.unit.rehearsal.bench import runner, system

GROUPS = Path("/proc/sys/kernel/sched_autogroup_enabled")


def told(process: int) -> str:
    """What the kernel says about the session of a process; empty where it knows none."""
    group = Path(f"/proc/{process}/autogroup")
    return group.read_text() if group.exists() else ""


def test_a_session_gives_way_when_its_first_process_is_named(tmp_path: Path) -> None:
    second = tmp_path / "second"
    arguments = ("-c", 'sleep 60 & echo $! > "$0.new"; mv "$0.new" "$0"; wait', str(second))
    first = runner().start(Command(system("sh"), arguments), log=tmp_path / "log")
    wait_for(second.exists, 10, "the second process to begin")
    before = told(first.pid)
    give_way(int(second.read_text()), 7)
    assert told(first.pid) == before
    give_way(first.pid, 7)
    is_grouped = GROUPS.exists() and GROUPS.read_text().strip() == "1"
    assert told(first.pid).endswith("nice 7\n") is is_grouped
    first.end()
    give_way(first.pid, 7)
    assert told(first.pid) == ""
