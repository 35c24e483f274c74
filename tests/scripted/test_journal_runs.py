"""Faults 8 to 12: what becomes of a run whose journal is cut, damaged, another cluster's or not to be written."""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine import journal_file
from bootstrap.engine.journal import Journal
from bootstrap.engine.lock import read_owner
from bootstrap.host.errors import InputError
from phases import session
from tests.scripted import invariants
from tests.scripted.sweep import sweep
from tests.scripted.trap import Point, Trap

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from tests.scripted.conftest import Make
    from tests.scripted.scenario import Ran, Scenario

INVALID = 3
FLIPS = 200
_PROGRAMS = {"talosctl": Path()}


def refused(scenario: Scenario, *said: str, **order: Any) -> Ran:
    """A run that is refused before anything is done."""
    before, kept = scenario.effects(), scenario.journal.read_bytes()
    ran = scenario.run(**order)
    assert ran.exit_code == INVALID, ran.stderr
    assert [text for text in said if text not in ran.stderr] == []
    assert scenario.effects() == before
    assert scenario.journal.read_bytes() == kept
    return ran


def test_a_journal_that_is_cut_anywhere_is_read_as_what_came_before(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So whatever a run makes of a cut inside a record, it makes of the cut before that record."""
    scenario = make()
    assert scenario.run().exit_code == 0
    whole = scenario.journal.read_bytes()
    # Depends on nothing but its arguments; uncached, every line would be decoded ten thousand times.
    monkeypatch.setattr(journal_file, "_decode", cache(journal_file._decode))
    entries = journal_file.read(scenario.journal).entries
    for size in reversed(range(len(whole))):
        os.truncate(scenario.journal, size)
        kept = journal_file.read(scenario.journal)
        assert kept.entries == entries[: whole.count(b"\n", 0, size)]
        assert kept.size == whole.rfind(b"\n", 0, size) + 1
        assert kept.size + kept.torn == size


def cuts(scenario: Scenario) -> Iterator[bytes]:
    """The journal up to each record, where a run is told by it what no shorter one told."""
    whole = scenario.journal.read_bytes()
    told: set[str] = set()
    for line_feed in re.finditer(rb"\n", whole):
        scenario.journal.write_bytes(whole[: line_feed.end()])
        found = scenario.remembered()
        # Names of runs, times and reasons are for people.
        open_ = [(action.step, action.index) for action in found.unfinished]
        known = (found.identities, sorted(found.done), sorted(found.begun), open_, [run.done for run in found.runs])
        if str(known) not in told:
            told.add(str(known))
            yield whole[: line_feed.end()]


def test_a_journal_that_was_cut_after_any_record_is_no_hindrance(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    found = tuple(cuts(scenario))
    assert len(found) > 40
    # Another operator's machine with the same cluster, state and journal, for the other processor.
    twin = make(world=scenario.world)
    shutil.copytree(scenario.journal.parent, twin.journal.parent)

    def resume(one: Scenario, journals: tuple[bytes, ...]) -> None:
        for journal in journals:
            one.journal.write_bytes(journal)
            invariants.converged(one)
            assert one.remembered().runs[-1].done

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(resume, (scenario, twin), (found[::2], found[1::2])))


def test_a_run_goes_on_with_a_journal_that_was_cut(make: Make, wanted: list[Any], dice: random.Random) -> None:
    for boundary in dice.sample(range(1, 12), 4):
        scenario = make()
        killed = scenario.run(trap=Trap(Point.BEFORE_END, boundary))
        assert killed.trapped
        whole = scenario.journal.read_bytes()
        scenario.journal.write_bytes(whole[: dice.randrange(len(whole))])
        finished = scenario.run(request={"accept_changed_plan": True})
        assert finished.exit_code == 0, finished.stderr
        assert scenario.final_world() == wanted


def flips(content: bytes, dice: random.Random, count: int) -> Iterator[bytes]:
    """The content with one bit flipped, but not in its last line feed: without that the last record is a torn one."""
    for place in dice.sample(range(len(content) - 1), count):
        flipped = bytearray(content)
        flipped[place] ^= 1 << dice.randrange(8)
        yield bytes(flipped)


def test_a_flipped_bit_is_refused_and_nothing_is_written(make: Make, dice: random.Random) -> None:
    scenario = make()
    assert scenario.run(trap=Trap(Point.AFTER_LINE, 5)).trapped
    for flipped in flips(scenario.journal.read_bytes(), dice, 5):
        scenario.journal.write_bytes(flipped)
        refused(scenario, "the journal", str(scenario.journal), "--rebuild-journal")


def test_no_run_begins_with_a_flipped_bit(make: Make, dice: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way of a run up to its first step, in this process."""
    scenario = make()
    assert scenario.run().exit_code == 0
    request = session.Request(scenario.root, scenario.place, scenario.inventory, "again")
    monkeypatch.setattr(session, "open_world", lambda *given: session._world(given[0], given[1], given[3], _PROGRAMS))
    monkeypatch.setattr(session, "execute", lambda *_, **__: pytest.fail("a run began"))
    for flipped in flips(scenario.journal.read_bytes(), dice, FLIPS):
        scenario.journal.write_bytes(flipped)
        with pytest.raises(InputError) as caught:
            session.run(request)
        assert str(scenario.journal) in str(caught.value)
        assert "--rebuild-journal" in caught.value.remedy
        assert scenario.journal.read_bytes() == flipped
        assert read_owner(scenario.journal.parent) is None


def test_another_clusters_journal_is_refused(make: Make) -> None:
    scenario = make()
    assert scenario.run(trap=Trap(Point.AFTER_LINE, 1)).trapped
    scenario.journal.unlink()
    Journal.open(scenario.journal, cluster="apps", tool="test", redact=str).close()
    refused(scenario, '"apps"', '"lab"', str(scenario.journal))


def test_a_later_versions_journal_is_refused(make: Make) -> None:
    scenario = make()
    scenario.journal.parent.mkdir(parents=True)
    header = {"schema": journal_file.SCHEMA + 1, "cluster": "lab", "tool": "9.9.9"}
    journal_file.create(scenario.journal, [journal_file.Entry(journal_file.HEADER, datetime.now(UTC), header)])
    refused(scenario, "9.9.9", str(scenario.journal))


def test_a_journal_that_cannot_be_written_is_refused(make: Make) -> None:
    scenario = make()
    assert scenario.run(trap=Trap(Point.AFTER_LINE, 1)).trapped
    scenario.journal.chmod(0o400)
    refused(scenario, "read-only", "chmod u+w")


def test_nothing_is_done_that_cannot_be_announced(make: Make, wanted: list[Any]) -> None:
    def attempt(number: int) -> bool:
        # Every eighth write: most are of states and waits, which nothing depends on.
        scenario = make()
        stopped = scenario.run(disk_full=8 * number)
        if stopped.exit_code == 0:
            return False
        assert stopped.exit_code == 1, stopped.stderr
        assert "the journal cannot be written" in stopped.stderr
        if scenario.effects():
            invariants.journal_is_true(scenario)
        finished = scenario.run()
        assert finished.exit_code == 0, finished.stderr
        invariants.check(scenario, wanted, stopped, finished)
        return True

    assert sweep(attempt) > 5


def test_changed_files_of_a_step_that_was_begun_are_refused_until_accepted(make: Make) -> None:
    scenario = make()
    assert scenario.run(trap=Trap(Point.BEFORE_END, 6)).trapped
    file = scenario.root / "bootstrap" / "resources.yaml"
    content = file.read_text()
    file.write_text(content.replace("enforce: restricted", "enforce: baseline"))
    refused(scenario, "bootstrap/resources.yaml", "--accept-changed-plan")
    accepted = scenario.run(request={"accept_changed_plan": True})
    assert accepted.exit_code == 0, accepted.stderr
    namespaces = [str(item) for item in scenario.final_world() if item.get("kind") == "Namespace"]
    changed = content.count("enforce: restricted")
    assert changed
    assert sum("'baseline'" in item for item in namespaces) == changed


def test_changed_files_of_a_step_that_was_not_begun_are_taken(make: Make) -> None:
    scenario = make()
    assert scenario.run(trap=Trap(Point.BEFORE_LINE, 2)).trapped
    file = scenario.root / "bootstrap" / "resources.yaml"
    content = file.read_text()
    file.write_text(content.replace("enforce: restricted", "enforce: baseline"))
    assert scenario.run().exit_code == 0


def test_the_journal_of_another_life_is_told_by_its_identity(make: Make) -> None:
    """Put back from a backup: the journal of the same name, of a cluster that was made anew since."""
    old, scenario = make(), make()
    assert old.run().exit_code == 0
    assert scenario.run().exit_code == 0
    before = scenario.effects()
    shutil.copy(old.journal, scenario.journal)
    ran = scenario.run()
    assert ran.exit_code == INVALID, ran.stderr
    assert "the kube-system UID is" in ran.stderr
    assert scenario.effects() == before


def test_what_a_killed_write_left_beside_is_no_file_of_ours(make: Make) -> None:
    """`write_atomically` writes beside the file and renames: a kill in between leaves the other one."""
    scenario = make()
    assert scenario.run().exit_code == 0
    state = scenario.journal.parent
    for file in [path for path in state.rglob("*") if path.is_file() and "runs" not in path.parts]:
        (file.parent / f".{file.name}.k1ll3d").write_bytes(file.read_bytes()[:10])
    for folder in ("core", "core.new"):
        left = state / folder / ".cilium.yaml.k1ll3d"
        left.parent.mkdir(exist_ok=True)
        left.write_bytes(b"half")
    invariants.converged(scenario)
