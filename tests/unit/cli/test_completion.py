"""The completion as shells use it: the script is sourced and asked as if a person had pressed the tabulator."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.packages import Need, SystemPackages, this_system
from bootstrap.host.secret import Redactor
from bootstrap.views.completion import SHELLS, script
from tests.unit.cli.typed import ROOT, invoke

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    # What a shell offers for the last of the words, given the script.
    Complete = Callable[..., list[str]]

VALUES = {"--cluster": ["lab", "infra"], "--only": ["core", "crds", "core/cilium"], "--skip": ["core", "crds"]}
BASH = """\
source "$SCRIPT"
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_firstlight "$LAUNCHER" "${{COMP_WORDS[$COMP_CWORD]}}" "${{COMP_WORDS[$COMP_CWORD - 1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
# Only a zsh with a terminal completes. It notes what is offered, and the key that follows says that all of it is.
ZSH = """\
zmodload zsh/zpty
rm -f "$OUT" "$OUT.done"
cat > "$OUT.rc" <<'END'
autoload -Uz compinit && compinit -u -D
source "$SCRIPT"
compadd() {{ local -a new; builtin compadd -O new "$@"; print -rl -- $IPREFIX$^new >> "$OUT"; builtin compadd "$@"; }}
finish() {{ : > "$OUT.done"; }}
zle -N finish
bindkey '^Xf' finish
END
zpty shell zsh -f -i
zpty -w shell 'source "$OUT.rc"'
zpty -w -n shell {line}$'\\t\\030f'
repeat 600; do
    zpty -r -t shell >/dev/null
    [[ -e "$OUT.done" ]] && break
    sleep 0.05
done
zpty -d shell
[[ -e "$OUT.done" ]] && cat "$OUT" 2>/dev/null
true
"""
FISH = """\
source "$SCRIPT"
complete -C {line}
"""


@pytest.fixture(scope="session")
def shells() -> dict[str, Path]:
    """The shells by name; those that are not there are installed."""
    system = this_system(os.environ)
    return SystemPackages(system, ShCommandRunner(Redactor()), print, os.environ).ensure({Need.SHELLS})


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Each shell."""
    return str(request.param)


@pytest.fixture
def complete(tmp_path: Path, shell: str, shells: dict[str, Path]) -> Complete:
    """Presses the tabulator in a shell; `invoke` stands for the launcher, which would set itself up first."""
    launcher = tmp_path / "bin" / "invoke"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/bash\nexec {sys.executable} -P {ROOT / "tasks.py"} "$@"\n')
    launcher.chmod(0o755)
    environment = {
        "HOME": str(tmp_path),
        "LAUNCHER": str(launcher),
        "OUT": str(tmp_path / "out"),
        "PATH": f"{launcher.parent}:{os.environ['PATH']}",
        "SCRIPT": str(tmp_path / "script"),
        "TERM": "dumb",
    }

    def complete(source: str, *words: str) -> list[str]:
        (tmp_path / "script").write_text(source)
        asked = {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell]
        text = asked.format(words=shlex.join(words), line=shlex.quote(" ".join(words)))
        said = ShCommandRunner(Redactor()).run(Command(shells[shell], ("-c", text), environment, folder=ROOT)).text
        # fish explains some of what it offers, behind a tabulator.
        return sorted({line.partition("\t")[0] for line in said.splitlines() if line})

    return complete


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("invoke", "bootstrap", "--cluster", ""), ["infra", "lab"]),
        (("invoke", "bootstrap", "--cluster", "i"), ["infra"]),
        (("invoke", "bootstrap", "--only", "core"), ["core", "core/cilium"]),
        (("invoke", "bootstrap", "--only", "core,cr"), ["core,crds"]),
        (("invoke", "boot"), ["bootstrap"]),
        (("invoke", "bootstrap", "--dry"), ["--dry-run"]),
    ],
)
def test_what_is_offered(words: tuple[str, ...], offered: list[str], shell: str, complete: Complete) -> None:
    assert complete(script(shell, VALUES), *words) == offered


def test_the_command_knows_clusters_phases_and_steps(shell: str, complete: Complete) -> None:
    answer = invoke("completion", "--shell", shell)
    assert (answer.code, answer.stderr) == (0, "")
    assert complete(answer.stdout, "invoke", "bootstrap", "--cluster", "la") == ["lab"]
    assert complete(answer.stdout, "invoke", "bootstrap", "--from", "handover/a") == ["handover/adoption"]


def test_a_shell_that_is_not_known_is_refused() -> None:
    answer = invoke("completion", "--shell", "fihs")
    assert (answer.code, answer.stdout) == (3, "")
    assert "nearest: fish" in answer.stderr
