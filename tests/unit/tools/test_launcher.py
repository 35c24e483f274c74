"""`./invoke`: makes the environment when needed, is silent and out of the way otherwise."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from bootstrap.host.commands import Command, Result, ShCommandRunner
from bootstrap.host.secret import Redactor

LAUNCHER = Path(__file__).parents[3] / "invoke"
# Stands in for uv: makes an environment whose Python prints its arguments and ends with 5 when asked to fail.
UV = """#!/bin/sh
echo "$1" >> "$UV_PROJECT_ENVIRONMENT/../uv-calls"
[ -e "$UV_PROJECT_ENVIRONMENT/../broken" ] && echo "error: no route to the index" && exit 2
/bin/mkdir -p "$UV_PROJECT_ENVIRONMENT/bin" "$UV_PROJECT_ENVIRONMENT/lib/python3.11/site-packages"
cat > "$UV_PROJECT_ENVIRONMENT/bin/python" <<'PYTHON'
#!/bin/sh
echo "$PWD"
for argument in "$@"; do echo "$argument"; done
for last in "$@"; do :; done
[ "$last" = fail ] && exit 5
exit 0
PYTHON
/bin/chmod +x "$UV_PROJECT_ENVIRONMENT/bin/python"
"""


@dataclass
class Repository:
    """A folder with the launcher and a lock."""

    root: Path
    search_path: str

    def launch(self, *arguments: str, folder: Path | None = None) -> Result:
        launcher = self.root / "invoke"
        return ShCommandRunner(Redactor()).run(
            Command(
                launcher, arguments, environment={"PATH": self.search_path}, folder=folder or self.root,
                allowed=frozenset({0, 3, 5}),
            )
        )  # fmt: skip

    @property
    def calls(self) -> list[str]:
        return (self.root / "uv-calls").read_text().split()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    root, tools = tmp_path / "re po", tmp_path / "bin"
    root.mkdir()
    tools.mkdir()
    shutil.copy(LAUNCHER, root / "invoke")
    (root / "uv.lock").write_text("version = 1\n")
    (root / "requirements.txt").write_text("")
    (tools / "uv").write_text(UV)
    (tools / "uv").chmod(0o755)
    return Repository(root, f"{tools}:{os.environ['PATH']}")


def test_the_first_run_sets_up_and_says_so(repository: Repository) -> None:
    result = repository.launch("bootstrap", "--cluster", "a b", folder=repository.root.parent)
    assert b"setting up .venv with uv" in result.stderr
    root = str(repository.root)
    folder = str(repository.root.parent)
    expected = [folder, "-P", f"{root}/tasks.py", "bootstrap", "--cluster", "a b"]
    assert result.text.splitlines() == expected
    packages = repository.root / ".venv" / "lib" / "python3.11" / "site-packages"
    assert (packages / "firstlight.pth").read_text() == f"{root}\n"


def test_the_next_run_is_quiet_until_the_lock_changes(repository: Repository) -> None:
    repository.launch()
    assert repository.launch().stderr == b""
    assert repository.calls == ["venv", "sync"]
    (repository.root / "uv.lock").write_text("version = 2\n")
    repository.launch()
    assert repository.calls == ["venv", "sync", "sync"]


def test_the_exit_code_is_the_childs(repository: Repository) -> None:
    assert repository.launch("fail").exit_code == 5


def test_a_failed_set_up_says_why_and_is_begun_again_from_nothing(repository: Repository) -> None:
    (repository.root / "broken").touch()
    result = repository.launch()
    assert result.exit_code == 3
    assert b"no route to the index" in result.stderr
    assert b"run the same command again" in result.stderr
    left = repository.root / ".venv" / "half"
    left.touch()
    (repository.root / "broken").unlink()
    assert repository.launch().exit_code == 0
    assert not left.exists()


def test_an_environment_whose_python_has_gone_is_made_again(repository: Repository) -> None:
    repository.launch()
    (repository.root / ".venv" / "bin" / "python").unlink()
    assert repository.launch().exit_code == 0
