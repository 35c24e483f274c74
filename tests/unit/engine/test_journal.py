"""What the engine remembers between runs: before each effect, of whom, and what the next run makes of it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine import Action, Changes, KillSafety
from bootstrap.engine.journal import COMPACT_ABOVE, FILE, RUNS_KEPT, Journal
from bootstrap.engine.journal_contents import Contents, read
from bootstrap.engine.journal_file import Disk, Entry
from bootstrap.engine.journal_file import create as create_file
from bootstrap.engine.journal_file import read as read_file
from bootstrap.engine.machine import State
from bootstrap.engine.step import Gate
from bootstrap.engine.testing import FakeClock
from bootstrap.host.errors import ExitCode, FirstlightError, InputError
from bootstrap.host.secret import Redactor, Secret
from tests.unit.engine.journals import COMMAND, NOON, of_kind, opened, ran, two_steps
from tests.unit.engine.world import World, holds_at_look, phase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bootstrap.engine import Context, Observation

CANARY = 'k3y "that" nobody/sees'


def contents(folder: Path) -> Contents:
    return read(folder / FILE, cluster="lab")


def entries(folder: Path) -> tuple[Entry, ...]:
    return read_file(folder / FILE).entries


def action(
    description: str, *, kill_safety: KillSafety = KillSafety.ONCE, changes: Changes = Changes.MACHINES
) -> Action:
    return Action(
        description=description,
        reason="it is missing",
        run=lambda _ctx: None,
        recognised_by="it is there",
        kill_safety=kill_safety,
        changes=changes,
    )


def failing(error: str) -> Callable[[Context], None]:
    def fail(_ctx: Context) -> None:
        raise FirstlightError(error)

    return fail


class Full:
    """A disk that takes so many writes, then half a line, then nothing."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def write(self, descriptor: int, line: bytes) -> int:
        self.left -= 1
        if self.left == -1:
            return os.write(descriptor, line[: len(line) // 2])
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, line)


def test_a_run_is_remembered(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        verdict = ran(journal, two_steps(World()))
    found = contents(tmp_path)
    run = found.last
    assert run is not None
    assert run.end is not None
    assert (run.id, run.command, run.steps) == (verdict.run_id, COMMAND, {"a/one": "0a"})
    assert (run.end.state, run.end.exit_code, run.stopped_at) == (State.DONE, 0, ())
    assert {path: seen.state for path, seen in run.seen.items()} == {"a/one": State.DONE, "b/two": State.DONE}
    assert {name: seen.state for name, seen in found.phases.items()} == {"a": State.DONE, "b": State.DONE}
    assert (found.begun, found.unfinished) == ({}, ())


def test_what_was_done_when_a_run_last_looked_is_a_hint_for_the_next(tmp_path: Path) -> None:
    def told(*moves: tuple[str, State], life: str = "") -> bool:
        with opened(tmp_path, life=life) as journal:
            journal.run_begins("run", COMMAND, {})
            for path, state in moves:
                journal.step_moved(path, state, "a reason", 1.0)
        with opened(tmp_path, life=life) as journal:
            return journal.was_done("a/one")

    assert not told()
    assert told(("a/one", State.PROBING), ("a/one", State.DONE))
    assert told(("a/one", State.PROBING)), "a run that was killed before it knew says nothing"
    assert told(("a/one", State.SKIPPED), ("a/two", State.FAILED)), "nor does one that left it out"
    assert not told(("a/one", State.ACTING))
    assert told(("a/one", State.DONE))
    assert not told(("a/one", State.PROBING), ("a/one", State.FAILED))
    assert told(("a/one", State.DONE))
    assert not told(life="other machines")


def test_each_effect_is_announced_on_disk_before_it_comes_about(tmp_path: Path) -> None:
    world, seen = World(), []

    def look(_ctx: Context) -> None:
        begun = [entry.holds["description"] for entry in of_kind(entries(tmp_path), "action begins")]
        ended = len(of_kind(entries(tmp_path), "action ended"))
        seen.append((begun, ended, list(world.effects)))

    synced: list[int] = []

    def sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)

    with opened(tmp_path, disk=Disk(sync=sync)) as journal:
        ran(journal, [phase("a", world.acting("one", effects=("left", "right"), before=look))])
    assert seen == [(["make left"], 0, []), (["make left", "make right"], 1, ["left"])]
    lines = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    places = {sum(map(len, lines[: place + 1])): entry for place, entry in enumerate(entries(tmp_path))}
    durable = {places[size].kind for size in synced}
    assert {"run begins", "action begins", "action ended", "run ended"} <= durable


def test_a_full_disk_lets_no_effect_happen_without_a_record(tmp_path: Path) -> None:
    for writes in range(100):
        folder, world, disk = tmp_path / str(writes), World(), Full(writes)
        folder.mkdir()
        journal = opened(folder, disk=Disk(write=disk.write))
        if writes == 0:
            with journal, pytest.raises(FirstlightError, match="the journal cannot be written"):
                ran(journal, two_steps(world))
        else:
            with journal:
                verdict = ran(journal, two_steps(world))
        announced = {entry.holds["description"] for entry in of_kind(entries(folder), "action begins")}
        assert {f"make {effect}" for effect in world.effects} <= announced, writes
        if disk.left >= 0:
            break
        if len(announced) < 3:
            assert writes == 0 or verdict.failures[0].fact == "the journal cannot be written"
            assert len(world.effects) <= len(announced)
    assert world.effects == ["left", "right", "two"]
    assert writes > 15, "the run wrote too little for the test to show anything"


def test_a_disk_that_fails_says_why_and_nothing_more_is_done(tmp_path: Path) -> None:
    def sync(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(tmp_path, disk=Disk(sync=sync)) as journal:
        journal.step_moved("a/one", State.PROBING, "", 0.0)
        journal.action_ended("a/one", 1, 0.0, "")
        for _ in range(2):
            with pytest.raises(FirstlightError, match="the journal cannot be written") as caught:
                journal.action_begins("a/one", 1, action("make one"))
            assert caught.value.cause == f"{os.strerror(errno.EIO)}: {tmp_path / FILE}"
            assert str(tmp_path) in caught.value.remedy
        assert journal.trouble == caught.value.cause
        with pytest.raises(FirstlightError, match="the journal cannot be written"):
            journal.identify("kube-system UID", "a")


def test_a_run_that_was_cut_off_leaves_what_it_began(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.run_begins("killed", COMMAND, {})
        journal.step_moved("a/one", State.PROBING, "", 0.0)
        journal.step_moved("a/one", State.ACTING, "", 0.1)
        journal.action_begins("a/one", 1, action("make left"))
        journal.action_ended("a/one", 1, 0.5, "")
        journal.action_begins("a/one", 2, action("make right"))
    found = contents(tmp_path)
    (left,) = found.unfinished
    assert (left.step, left.index, left.description, left.run) == ("a/one", 2, "make right", "killed")
    assert (left.kill_safety, left.changes, left.recognised_by) == (KillSafety.ONCE, Changes.MACHINES, "it is there")
    assert found.begun == {"a/one": "killed"}
    assert found.last is not None
    assert (found.last.end, found.last.stopped_at) == (None, ("a/one",))


@pytest.mark.parametrize("state", [State.ACTING, State.WAITING, State.DONE])
def test_what_was_left_unfinished_is_settled_by_the_next_probe(tmp_path: Path, state: State) -> None:
    with opened(tmp_path) as journal:
        journal.run_begins("killed", COMMAND, {})
        journal.action_begins("a/one", 1, action("make one"))
        journal.run_begins("next", COMMAND, {})
        journal.step_moved("a/one", State.PROBING, "", 0.0)
        assert len(contents(tmp_path).unfinished) == 1
        journal.step_moved("a/one", state, "", 0.0)
    assert contents(tmp_path).unfinished == ()


def test_a_failed_action_is_unfinished_and_its_step_is_where_the_run_stopped(tmp_path: Path) -> None:
    world = World()
    with opened(tmp_path) as journal:
        ran(journal, [phase("a", world.acting("one", before=failing("the wire is cut"))), *two_steps(world)[1:]])
    found = contents(tmp_path)
    assert [left.error for left in found.unfinished] == ["the wire is cut"]
    assert found.last is not None
    assert found.last.end is not None
    assert (found.last.stopped_at, found.last.end.failures) == (("a/one",), ("the wire is cut",))


def test_begun_is_what_changed_the_world_in_runs_that_did_not_end_well(tmp_path: Path) -> None:
    world, broken = World(), {"it": True}

    def maybe(_ctx: Context) -> None:
        if broken["it"]:
            raise FirstlightError("not yet")

    phases = [
        phase("a", world.acting("files", writes=False), world.acting("one", effects=("left",))),
        phase("b", world.acting("two", before=maybe)),
    ]
    with opened(tmp_path) as journal:
        failed = ran(journal, phases)
        assert contents(tmp_path).begun == {"a/one": failed.run_id, "b/two": failed.run_id}
        broken["it"] = False
        ran(journal, phases)
    assert contents(tmp_path).begun == {}


def test_an_identity_is_learned_once_and_another_is_refused_with_both(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.identify("kube-system UID", "a")
        journal.identify("kube-system UID", "a")
    with opened(tmp_path) as journal:
        journal.identify("Talos cluster id", "t")
        with pytest.raises(InputError) as caught:
            journal.identify("kube-system UID", "b")
    assert caught.value.exit_code is ExitCode.INVALID
    assert caught.value.fact == "the kube-system UID is b, but the journal of lab has a"
    assert "--rebuild-journal" in caught.value.remedy
    assert contents(tmp_path).identities == {"kube-system UID": "a", "Talos cluster id": "t"}
    assert len(of_kind(entries(tmp_path), "identity")) == 2


def test_other_virtual_machines_begin_another_life(tmp_path: Path) -> None:
    with opened(tmp_path, life="lab of noon") as journal:
        journal.run_begins("killed", COMMAND, {})
        journal.identify("Talos cluster id", "t")
        journal.action_begins("a/one", 1, action("make one"))
        journal.wait_ended("a/one", "one to settle", 7.0, held=True)
    with opened(tmp_path, life="lab of one") as journal:
        assert journal.contents == contents(tmp_path)
        assert (journal.contents.identities, journal.contents.begun, journal.contents.unfinished) == ({}, {}, ())
        # How long a wait takes does not change with the machine's identity.
        assert journal.usual_seconds("a/one", "one to settle") == 7.0
        journal.identify("Talos cluster id", "u")
    assert contents(tmp_path).identities == {"Talos cluster id": "u"}
    with opened(tmp_path, life="lab of one"):
        assert len(of_kind(entries(tmp_path), "life")) == 2


def test_a_snapshot_of_the_same_lab_begins_another_life_too_but_not_twice_in_a_run(tmp_path: Path) -> None:
    with opened(tmp_path, life="lab of noon") as journal:
        journal.run_begins("killed", COMMAND, {})
        journal.identify("Talos cluster id", "t")
        journal.identify("kube-system UID", "a")
        journal.action_begins("a/one", 1, action("make one"))
    with opened(tmp_path, life="lab of noon") as journal:
        journal.run_begins("next", COMMAND, {})
        journal.identify("Talos cluster id", "t")
        journal.identify("kube-system UID", "b")
        with pytest.raises(InputError, match="the kube-system UID is c, but the journal of lab has b"):
            journal.identify("kube-system UID", "c")
    found = contents(tmp_path)
    assert found.identities == {"Talos cluster id": "t", "kube-system UID": "b"}
    assert found.begun == {}


def test_another_clusters_journal_is_refused_with_both_names(tmp_path: Path) -> None:
    opened(tmp_path, cluster="apps").close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(InputError) as caught:
        opened(tmp_path, cluster="infra")
    assert caught.value.exit_code is ExitCode.INVALID
    assert 'it is the journal of cluster "apps", not of "infra"' in str(caught.value)
    assert str(tmp_path / FILE) in str(caught.value)
    assert "--rebuild-journal" in caught.value.remedy
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize(
    "entry",
    [
        Entry("dance", NOON, {}),
        Entry("identity", NOON, {"kind": "x"}),
        Entry("step moved", NOON, {"step": "a", "state": "flying", "reason": "", "seconds": 0}),
        Entry("phase ended", NOON, {"phase": "a", "state": "done", "seconds": 0}),
    ],
)
def test_a_record_that_says_nothing_known_is_refused(tmp_path: Path, entry: Entry) -> None:
    opened(tmp_path).close()
    create_file(tmp_path / FILE, [*entries(tmp_path), entry])
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    assert f'{tmp_path / FILE}:2: a record of kind "{entry.kind}" lacks what it has' in str(caught.value)


def test_what_is_usual_is_the_median_of_the_last_runs_where_the_wait_held(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for seconds in (900.0, 5.0, 3.0, 4.0, 100.0, 2.0):
            journal.run_begins("some", COMMAND, {})
            journal.wait_ended("a/one", "one to settle", seconds, held=True)
            journal.wait_ended("a/one", "one to settle", 1.0, held=True)
            journal.wait_ended("a/one", "one to settle", 5000.0, held=False)
    with opened(tmp_path) as journal:
        assert journal.usual_seconds("a/one", "one to settle") == 4.0
        assert journal.usual_seconds("a/one", "two to settle") is None
        assert journal.usual_seconds("b/two", "one to settle") is None


def test_the_time_of_a_wait_is_that_of_the_run(tmp_path: Path) -> None:
    clock, world = FakeClock(), World()
    gate = Gate(description="one to settle", check=holds_at_look(4), interval=2.5)
    with opened(tmp_path) as journal:
        ran(journal, [phase("a", world.acting("one", gate=gate))], clock=clock)
    with opened(tmp_path) as journal:
        assert journal.usual_seconds("a/one", "one to settle") == 7.5


def test_no_secret_is_in_it(tmp_path: Path) -> None:
    redactor, world = Redactor(), World()
    redactor.add(Secret(CANARY, "op://lab/x/y"))

    def look(_ctx: Context) -> Observation[str]:
        raise FirstlightError(f"refused {CANARY}")

    gate = Gate(description=f"{CANARY} to be taken", check=look, timeout=2.0)
    with opened(tmp_path, redact=redactor.redact) as journal:
        journal.identify("token", CANARY)
        journal.run_begins("run", f"--password {CANARY}", {})
        journal.action_begins("a/one", 1, action(f"send {CANARY}"))
        ran(journal, [phase("a", world.acting("one", before=failing(f"said {CANARY}")))], redact=redactor.redact)
        ran(journal, [phase("a", world.acting("one", gate=gate))], redact=redactor.redact)
        journal.identify("token", CANARY)
    text = (tmp_path / FILE).read_text()
    assert "[redacted]" in text
    assert "k3y" not in text
    assert "nobody" not in text


def test_a_large_journal_keeps_header_identities_and_the_latest_runs(tmp_path: Path) -> None:
    with opened(tmp_path, life="lab of noon") as journal:
        journal.identify("Talos cluster id", "old")
    padding = {"x": "0" * (COMPACT_ABOVE // (RUNS_KEPT + 5))}
    world = World()
    with opened(tmp_path, life="lab of one") as journal:
        journal.identify("Talos cluster id", "t")
        for number in range(RUNS_KEPT + 5):
            journal.run_begins(f"run-{number}", COMMAND, padding)
        whole = entries(tmp_path)
    with opened(tmp_path, life="lab of one"):
        assert entries(tmp_path) == whole, "the last run is not done"
    with opened(tmp_path, life="lab of one") as journal:
        ran(journal, two_steps(world))
    before = contents(tmp_path)
    with opened(tmp_path, life="lab of one") as journal:
        assert journal.contents.runs == before.runs[-RUNS_KEPT:]
        journal.identify("kube-system UID", "a")
    found = contents(tmp_path)
    assert found.identities == {"Talos cluster id": "t", "kube-system UID": "a"}
    assert (found.life, found.cluster, len(found.runs)) == ("lab of one", "lab", RUNS_KEPT)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_closed_journal_lets_nothing_begin(tmp_path: Path) -> None:
    journal: Journal = opened(tmp_path)
    journal.close()
    journal.action_ended("a/one", 1, 0.0, "")
    with pytest.raises(FirstlightError, match="the run has ended"):
        journal.action_begins("a/one", 1, action("make one"))


def test_a_run_that_is_done_without_having_seen_a_step_leaves_it_begun(tmp_path: Path) -> None:
    world = World()
    with opened(tmp_path) as journal:
        failed = ran(journal, [phase("a", world.acting("one", before=failing("not yet")))])
        ran(journal, [phase("b", world.acting("two"))])
    assert contents(tmp_path).begun == {"a/one": failed.run_id}
