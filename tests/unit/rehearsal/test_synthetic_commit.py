"""The synthetic commit is the worktree as it is, and nothing of the user's is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.host.errors import InputError
from rehearsal.repository import commit_worktree
from tests.unit.rehearsal.bench import git, make_worktree, runner, system

if TYPE_CHECKING:
    from pathlib import Path

REF = "refs/heads/main"


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    return make_worktree(
        tmp_path / "worktree",
        {
            "tracked": "one\n",
            "folder/deep": "two\n",
            "kept.secret": "tracked, though ignored\n",
            ".gitignore": "*.secret\n",
        },
    )


def commit(worktree: Path, bare: Path, ref: str = REF) -> str:
    return commit_worktree(worktree, bare, ref, system("git"), runner())


def files_of(bare: Path, commit_id: str) -> dict[str, str]:
    lines = git(bare, "ls-tree", "-r", commit_id).splitlines()
    return {line.partition("\t")[2]: line.split()[0] for line in lines}


def test_a_file_that_is_new_changed_ignored_or_gone(worktree: Path, tmp_path: Path) -> None:
    (worktree / "new").write_text("untracked\n")
    (worktree / "tracked").write_text("changed\n")
    (worktree / "other.secret").write_text("ignored\n")
    (worktree / "folder" / "deep").unlink()
    (worktree / "link").symlink_to("nowhere")
    (worktree / "new").chmod(0o755)

    made = commit(worktree, tmp_path / "bare")

    assert files_of(tmp_path / "bare", made) == {
        ".gitignore": "100644", "kept.secret": "100644", "link": "120000", "new": "100755", "tracked": "100644",
    }  # fmt: skip
    assert git(tmp_path / "bare", "show", f"{made}:tracked") == "changed\n"
    assert git(tmp_path / "bare", "show", f"{made}:link") == "nowhere"


def test_the_same_tree_has_the_same_id_and_another_tree_another(worktree: Path, tmp_path: Path) -> None:
    first = commit(worktree, tmp_path / "bare")
    assert commit(worktree, tmp_path / "other") == first
    assert commit(worktree, tmp_path / "bare") == first
    git(worktree, "commit", "--quiet", "--allow-empty", "--message=history does not count")
    assert commit(worktree, tmp_path / "bare") == first

    (worktree / "new").write_text("")
    second = commit(worktree, tmp_path / "bare")
    assert second != first
    (worktree / "new").unlink()
    assert commit(worktree, tmp_path / "bare") == first


def test_it_stands_alone_at_the_ref_that_is_asked_for(worktree: Path, tmp_path: Path) -> None:
    made = commit(worktree, tmp_path / "bare", "refs/heads/release/1")
    assert git(tmp_path / "bare", "show-ref").split() == [made, "refs/heads/release/1"]
    assert git(tmp_path / "bare", "rev-list", "--count", made).strip() == "1"
    assert (tmp_path / "bare" / "HEAD").read_text() == "ref: refs/heads/release/1\n"


def test_nothing_of_the_users_is_touched(worktree: Path, tmp_path: Path) -> None:
    (worktree / "staged").write_text("staged\n")
    git(worktree, "add", "staged")
    (worktree / "new").write_text("untracked\n")
    before = {path: path.read_bytes() for path in (worktree / ".git").rglob("*") if path.is_file()}

    commit(worktree, tmp_path / "bare")

    after = {path: path.read_bytes() for path in (worktree / ".git").rglob("*") if path.is_file()}
    assert after == before


def test_a_linked_worktree_and_a_nested_repository(worktree: Path, tmp_path: Path) -> None:
    git(worktree, "worktree", "add", "--quiet", str(tmp_path / "linked"), "HEAD")
    make_worktree(tmp_path / "linked" / "nested", {"inner": ""})
    made = commit(tmp_path / "linked", tmp_path / "bare")
    assert made == commit(worktree, tmp_path / "other")


def test_the_users_own_git_settings_do_not_matter(
    worktree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = commit(worktree, tmp_path / "bare")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text("[commit]\n\tgpgSign = true\n[core]\n\tautocrlf = true\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert commit(worktree, tmp_path / "other") == plain


def test_a_folder_that_is_no_worktree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError) as refused:
        commit(tmp_path / "folder", tmp_path / "bare")
    assert "is no Git worktree" in refused.value.fact
    assert refused.value.problems[0].remedy == "run in a clone of the repository"
    assert not (tmp_path / "bare").exists()
