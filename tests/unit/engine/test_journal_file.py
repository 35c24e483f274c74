"""A journal on disk: what a kill, a flipped bit, another file or another version leaves is read or refused."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.engine.journal import FILE
from bootstrap.engine.journal_file import HEADER, Appender, Entry, Kept, create, read, set_aside
from bootstrap.host.errors import ExitCode, FirstlightError, InputError
from tests.unit.engine.journals import NOON, QUICK, opened, ran, two_steps
from tests.unit.engine.world import World

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = 200
START = Entry(HEADER, NOON, {"schema": 1, "cluster": "lab", "tool": "0.1.0"})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(
    st.tuples(st.text().filter(lambda kind: kind != HEADER), st.dictionaries(st.text(), JSON, max_size=4)), max_size=6
)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The journal of a whole run."""
    with opened(tmp_path) as journal:
        ran(journal, two_steps(World()))
    return tmp_path / FILE


def appender(path: Path, kept: Kept) -> Appender:
    return Appender(path, kept, wall=lambda: NOON, disk=QUICK)


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.exit_code is ExitCode.INVALID
    assert str(path) in str(caught.value)
    assert "--rebuild-journal" in caught.value.remedy
    return caught.value


@settings(max_examples=50, deadline=None)
@given(RECORDS)
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, dict[str, Any]]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / FILE
    create(path, [START])
    writing = appender(path, read(path))
    for kind, holds in records:
        writing.append(kind, holds, durable=False)
    writing.close()
    kept = read(path)
    assert kept.entries == (START, *(Entry(kind, NOON, holds) for kind, holds in records))
    assert (kept.size, kept.torn) == (path.stat().st_size, 0)


def test_a_journal_cut_anywhere_is_a_prefix_and_goes_on(whole: Path) -> None:
    content, entries = whole.read_bytes(), read(whole).entries
    for size in range(len(content) + 1):
        whole.write_bytes(content[:size])
        kept = read(whole)
        assert kept.entries == entries[: content[:size].count(b"\n")], size
        assert kept.size + kept.torn == size
        with opened(whole.parent) as journal:
            journal.identify("kube-system UID", "a")
        after = read(whole)
        assert after.entries[:-1] == (kept.entries or entries[:1]), size
        assert (after.entries[-1].kind, after.torn) == ("identity", 0)


def test_every_flipped_bit_is_refused_or_only_tears_the_last_record_off(whole: Path) -> None:
    content, entries = whole.read_bytes(), read(whole).entries
    for seed in range(FLIPS):
        chosen = random.Random(seed)  # noqa: S311 # repeatable, no secret
        place, bit = chosen.randrange(len(content)), chosen.randrange(8)
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        whole.write_bytes(flipped)
        if place == len(content) - 1:
            assert read(whole).entries == entries[:-1], seed
        else:
            refused(whole)


def test_the_last_record_is_no_torn_one_when_its_line_is_whole(whole: Path) -> None:
    lines = whole.read_bytes().splitlines(keepends=True)
    whole.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b"done", b"gone")]))
    error = refused(whole)
    assert str(error.problems[0]).startswith(f"{whole}:{len(lines)}: the checksum does not fit")


@pytest.mark.parametrize(
    ("order", "line", "said"),
    [
        ((0, 2, 3, 4), 2, "this is record 3; 2 is missing or stands elsewhere"),
        ((0, 2, 1, 3), 2, "this is record 3; 2 is missing or stands elsewhere"),
        ((0, 1, 1, 2), 3, "this is record 2; 3 is missing or stands elsewhere"),
        ((1, 2, 3), 1, "this is record 2; 1 is missing or stands elsewhere"),
    ],
)
def test_missing_doubled_and_swapped_records_are_seen(
    whole: Path, order: tuple[int, ...], line: int, said: str
) -> None:
    lines = whole.read_bytes().splitlines(keepends=True)
    whole.write_bytes(b"".join(lines[place] for place in order))
    (problem,) = refused(whole).problems
    assert (problem.line, problem.text) == (line, said)


def test_records_of_another_journal_do_not_fit_the_chain(tmp_path: Path) -> None:
    paths = tmp_path / "a", tmp_path / "b"
    for path in paths:
        create(path, [START, Entry("note", NOON, {"path": str(path)}), Entry("end", NOON, {})])
    mixed = paths[0].read_bytes().splitlines(keepends=True)[:2] + paths[1].read_bytes().splitlines(keepends=True)[2:]
    paths[0].write_bytes(b"".join(mixed))
    assert "the checksum does not fit" in str(refused(paths[0]))


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"hello\n",
        b"\n",
        b"\x00\x01\xff\n",
        b'{"level":"info","event":"run-started"}\n',
        b'{"n":1,"at":"2026","kind":"header","holds":{},"sum":"0123456789abcdef"}\n',
        b'{"n":1,"at":' + b"[" * 100_000 + b"\n",
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert refused(tmp_path / FILE).problems[0].line == 1


def test_a_journal_without_a_header_is_refused(tmp_path: Path) -> None:
    create(tmp_path / FILE, [Entry("note", NOON, {})])
    assert "one header" in str(refused(tmp_path / FILE))


def test_a_later_versions_journal_is_refused_with_both_versions(tmp_path: Path) -> None:
    create(tmp_path / FILE, [Entry(HEADER, NOON, {"schema": 2, "cluster": "lab", "tool": "0.9.0"})])
    error = refused(tmp_path / FILE)
    assert "it has schema 2, written by version 0.9.0; this version reads up to 1" in str(error)
    # Even when its checksums are others.
    (tmp_path / FILE).write_bytes(b'{"holds":{"schema":7,"tool":"1.0.0"},"sha":"0"}\n')
    assert "schema 7, written by version 1.0.0" in str(refused(tmp_path / FILE))


def test_a_file_that_is_not_there_is_empty_and_a_folder_is_refused(tmp_path: Path) -> None:
    assert read(tmp_path / FILE) == Kept()
    (tmp_path / FILE).mkdir()
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read(tmp_path / FILE)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_is_no_journal(tmp_path: Path, device: str) -> None:
    (tmp_path / FILE).symlink_to(device)
    with pytest.raises(InputError, match="cannot be read: no regular file"):
        read(tmp_path / FILE)


def test_a_journal_is_for_its_owner_alone(whole: Path) -> None:
    assert whole.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("place", ["file", "folder"])
def test_read_only_is_refused_with_place_mode_and_owner_even_for_root(whole: Path, place: str) -> None:
    chosen, mode = (whole, 0o400) if place == "file" else (whole.parent, 0o500)
    chosen.chmod(mode)
    try:
        with pytest.raises(InputError) as caught:
            opened(whole.parent)
    finally:
        chosen.chmod(0o700)
    (problem,) = caught.value.problems
    assert problem.path == str(chosen)
    assert f"read-only: mode {mode:04o}, owner uid {os.geteuid()}" in problem.text
    assert problem.remedy == f"chmod u+w {chosen}"


def test_another_owner_is_refused_with_all_that_he_owns(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(InputError) as caught:
        opened(whole.parent)
    assert [problem.path for problem in caught.value.problems] == [str(whole.parent), str(whole)]
    assert f"it is not ours (uid {owner + 1}): mode 0600, owner uid {owner}" in caught.value.problems[1].text


def test_a_journal_is_set_aside_whole(whole: Path) -> None:
    content = whole.read_bytes()
    aside = set_aside(whole, NOON)
    assert aside is not None
    assert aside.name == "journal.jsonl.damaged-20261121T120000.000000Z"
    assert aside.read_bytes() == content
    assert set_aside(whole, NOON) is None


def test_what_cannot_be_begun_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / FILE
    with pytest.raises(FirstlightError, match="the journal cannot be written") as caught:
        create(path, [START])
    assert str(path) in caught.value.cause
    assert str(path.parent) in caught.value.remedy


def test_nothing_is_written_after_the_end(whole: Path) -> None:
    writing = appender(whole, read(whole))
    writing.close()
    writing.close()
    before = whole.read_bytes()
    with pytest.raises(FirstlightError, match="the run has ended"):
        writing.append("note", {}, durable=True)
    assert (whole.read_bytes(), writing.trouble) == (before, "")
