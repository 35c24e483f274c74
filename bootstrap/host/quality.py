"""What `invoke lint` runs, as data, and how it runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command, CommandError, CommandRunner
from bootstrap.host.errors import FirstlightError, InputError
from bootstrap.host.packages import Need, SystemPackages, this_system
from bootstrap.host.toolbox import GO_REMEDY
from bootstrap.host.toolchain import build_environment, find_go

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

# The slowest, mypy without its cache, takes 9 s beside an emulated machine; ten minutes are one that hangs.
CHECK_SECONDS: Final = 600.0
SHELL_SCRIPTS: Final = (".ci/run", "lab/image/*.sh")
GO_MODULES: Final = ("lab/cilium", "lab/discovery", "lab/spegel", "tools/agnhost", "tools/pause")


@dataclass(frozen=True)
class Tools:
    """The programs that the checks are made with.

    Attributes:
        python: the environment's Python; ruff, mypy and lint-imports stand beside it.
        shellcheck: of the system.
        go: the toolchain.
        go_environment: what every `go` command gets.
    """

    python: Path
    shellcheck: Path
    go: Path
    go_environment: Mapping[str, str]


@dataclass(frozen=True)
class Check:
    """One command of the linters.

    Attributes:
        command: fails when there is something to mend.
        reason: what it holds the tree to.
    """

    command: Command
    reason: str


def lint_checks(root: Path, tools: Tools) -> tuple[Check, ...]:
    """The checks over a whole worktree, quick ones first.

    Args:
        root: the repository.
        tools: what to check with.
    """
    beside = tools.python.with_name
    scripts = tuple(str(path) for pattern in SHELL_SCRIPTS for path in sorted(root.glob(pattern)))

    def command(program: Path, *arguments: str, folder: Path = root) -> Command:
        environment = tools.go_environment if program == tools.go else {}
        return Command(program, arguments, environment, timeout=CHECK_SECONDS, folder=folder)

    return (
        Check(command(beside("ruff"), "check", "."), "rules of the code, each exception with its reason"),
        Check(command(beside("ruff"), "format", "--check", "."), "one form for all"),
        Check(command(beside("lint-imports")), "imports point downwards only"),
        Check(command(tools.shellcheck, *scripts), "shell scripts without traps"),
        *(
            Check(command(tools.go, "vet", "./...", folder=root / module), f"suspicious Go in {module}")
            for module in GO_MODULES
        ),
        Check(command(beside("mypy")), "types, strictly"),
    )


def lint(
    root: Path, python: Path, runner: CommandRunner, report: Callable[[str], None], environment: Mapping[str, str]
) -> None:
    """Run every check, the later ones too when one fails.

    Args:
        root: the repository.
        python: the environment's Python.
        runner: starts the programs.
        report: told what is checked and what is wrong.
        environment: usually `os.environ`.

    Raises:
        InputError: shellcheck or Go is missing and cannot be installed; nothing was checked.
        FirstlightError: some checks failed; names them.
    """
    checks = lint_checks(root, _find(root, python, runner, report, environment))
    failed = []
    for number, check in enumerate(checks, start=1):
        name = _name(check.command, root)
        report(f"[{number}/{len(checks)}] {name}: {check.reason}")
        try:
            runner.run(check.command)
        except CommandError as error:
            failed.append(name)
            report((error.stdout + error.stderr).strip() or str(error))
    if failed:
        fact = f"{len(failed)} of {len(checks)} checks failed"
        raise FirstlightError(fact, cause="; ".join(failed), remedy="mend what is listed above, then ./invoke lint")


def _find(
    root: Path, python: Path, runner: CommandRunner, report: Callable[[str], None], environment: Mapping[str, str]
) -> Tools:
    host = SystemPackages(this_system(environment), runner, report, environment).ensure({Need.LINT})
    search_path = environment.get("PATH", "")
    # Our own modules are plain Go; without cgo no C compiler is asked for.
    go_environment = {**build_environment(environment), "CGO_ENABLED": "0"}
    go = find_go(runner, go_environment, search_path, root)
    if go is None:
        raise InputError("Go is not on PATH", cause="our own Go modules are checked too", remedy=GO_REMEDY)
    return Tools(python, host["shellcheck"], go.program, go_environment)


def _name(command: Command, root: Path) -> str:
    folder = "" if command.folder in {None, root} else f" in {command.folder.relative_to(root)}"
    arguments = [
        argument for argument in command.arguments if isinstance(argument, str) and not argument.startswith("/")
    ]
    return " ".join([command.program.name, *arguments]) + folder
