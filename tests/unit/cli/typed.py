"""Types a command line into the real launcher."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.secret import Redactor

ROOT = Path(__file__).parents[3]
# What differs from machine to machine and from run to run.
FILTERS = (
    (re.compile(re.escape(str(ROOT))), "<root>"),
    (re.compile(re.escape(str(Path.home()))), "<home>"),
    (re.compile(r"\d+\.\d+ s\b"), "<time>"),
    # Columns of `config` are as wide as this machine's paths.
    (re.compile(r" {2,}(?=(?:origin|default)$)", re.MULTILINE), "  "),
)


@dataclass(frozen=True)
class Answer:
    """How a command ended and what it said."""

    code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        """Everything, without what is this machine's."""
        text = f"exit code {self.code}\n--- stdout\n{self.stdout}--- stderr\n{self.stderr}"
        for pattern, name in FILTERS:
            text = pattern.sub(name, text)
        return text


def invoke(*words: str, root: Path | None = None, **environment: str) -> Answer:
    """What `./invoke` answers.

    Args:
        words: the command line.
        root: a repository instead of this one.
        environment: more variables; our own `FIRSTLIGHT_` variables are not passed on.
    """
    passed = {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", ""), **environment}
    if root:
        passed["FIRSTLIGHT_ROOT"] = str(root)
    result = ShCommandRunner(Redactor()).run(
        Command(ROOT / "invoke", words, passed, folder=ROOT, allowed=frozenset(range(256)))
    )
    return Answer(result.exit_code, result.text, result.stderr.decode())
