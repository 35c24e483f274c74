"""The completion as bash uses it: the script is sourced and asked as if a person had pressed the tabulator."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.secret import Redactor
from bootstrap.views.completion import bash_script
from tests.unit.cli.typed import ROOT, invoke

VALUES = {"--cluster": ["lab", "infra"], "--only": ["core", "crds", "core/cilium"], "--skip": ["core", "crds"]}


def complete(script: str, launcher: Path, *words: str) -> list[str]:
    """What is offered for the last of the words."""
    asked = f"""
COMP_WORDS=({shlex.join(words)}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_firstlight "$LAUNCHER" "${{COMP_WORDS[$COMP_CWORD]}}" "${{COMP_WORDS[$COMP_CWORD - 1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    command = Command(Path("/bin/bash"), ("-c", script + asked), {"LAUNCHER": str(launcher)}, folder=ROOT)
    return ShCommandRunner(Redactor()).run(command).text.split()


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    """Stands for `./invoke`, which would set itself up first."""
    path = tmp_path / "invoke"
    path.write_text(f'#!/bin/bash\nexec {sys.executable} -P {ROOT / "tasks.py"} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("./invoke", "bootstrap", "--cluster", ""), ["lab", "infra"]),
        (("./invoke", "bootstrap", "--cluster", "i"), ["infra"]),
        (("./invoke", "bootstrap", "--only", "core"), ["core", "core/cilium"]),
        (("./invoke", "bootstrap", "--only", "core,cr"), ["core,crds"]),
        (("./invoke", "boot"), ["bootstrap"]),
        (("./invoke", "bootstrap", "--dry"), ["--dry-run"]),
    ],
)
def test_what_is_offered(words: tuple[str, ...], offered: list[str], launcher: Path) -> None:
    assert complete(bash_script(VALUES), launcher, *words) == offered


def test_the_command_knows_clusters_phases_and_steps(launcher: Path) -> None:
    answer = invoke("completion")
    assert (answer.code, answer.stderr) == (0, "")
    assert complete(answer.stdout, launcher, "./invoke", "bootstrap", "--cluster", "la") == ["lab"]
    assert complete(answer.stdout, launcher, "./invoke", "bootstrap", "--from", "handover/a") == ["handover/adoption"]
    assert "complete -o default -F _firstlight invoke" in answer.stdout
