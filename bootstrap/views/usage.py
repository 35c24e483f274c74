"""The command line itself: invoke's program, with a line that cannot be read told as fact, cause and next command."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from invoke import Exit, Program
from invoke.exceptions import ParseError

from bootstrap.host.errors import ExitCode, FirstlightError, InputError
from bootstrap.host.names import nearest
from bootstrap.host.streams import silence_closed, unwritten, write_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from invoke import Collection
    from invoke.parser import ParserContext

# What invoke's parser says; it has no other way to tell its errors apart.
UNKNOWN: Final = re.compile(r"No idea what ['\"]?(.*?)['\"]? is!")
MISSING: Final = re.compile(r"'(.*?)' did not receive required positional arguments: (.*)")
EMPTY: Final = re.compile(r"Flag <Argument: ([^\s>]+).*> needed value")
# Python's int() and float(), which invoke asks.
NO_NUMBER: Final = re.compile(r"(?:invalid literal for int|could not convert string to float)\b[^:]*: '(.*)'")
NO_GROUP: Final = re.compile(r"Sub-collection '(.*)' not found!")
# Of invoke's own options those that mean something here.
MEANT: Final = ("--help", "--list")


class CommandLine(Program):
    """invoke's program for given tasks.

    Args:
        namespace: the tasks.
    """

    def __init__(self, namespace: Collection) -> None:
        super().__init__(name="Firstlight", binary="./invoke", binary_names=["invoke", "inv"], namespace=namespace)
        self._tasks = tuple(namespace.task_names)

    def run(self, *arguments: Any, **options: Any) -> None:
        """Everything, to the exit code; who reads a list with `head` has what they wanted."""
        try:
            super().run(*arguments, **options)
        except BrokenPipeError:
            sys.exit(int(ExitCode.DONE))
        except OSError as error:
            # A list of invoke's own; ours are written by `write_data`.
            silence_closed(sys.stdout)
            sys.exit(_refused(unwritten(error)).code)
        finally:
            silence_closed(sys.stdout, sys.stderr)

    def parse_core(self, argv: list[str] | None) -> None:
        """What stands before the first task."""
        self._read(super().parse_core, self._asking(argv or sys.argv))

    def parse_tasks(self) -> None:
        """The tasks and their options."""
        self._read(super().parse_tasks)

    def parse_cleanup(self) -> None:
        """`--help`, `--list` and the like."""
        self._read(super().parse_cleanup)

    def execute(self) -> None:
        """The tasks themselves; one that catches no interrupt ends by it."""
        try:
            super().execute()
        except KeyboardInterrupt:
            raise _told("interrupted", ExitCode.INTERRUPTED) from None
        except Exit as end:
            raise _told(end.message or "", end.code) from None

    def _asking(self, argv: list[str]) -> list[str]:
        """`TASK --help` as `--help TASK`: invoke takes the flag for the value of an argument that a task needs."""
        named = next((place for place, word in enumerate(argv) if place and word in self._tasks), len(argv))
        asks = any(word in {"-h", "--help"} for word in argv[named:])
        return [argv[0], "--help", argv[named]] if asks else argv

    def _read(self, parse: Callable[..., None], *arguments: Any) -> None:
        try:
            parse(*arguments)
        except (ParseError, ValueError) as error:
            wrong: Exception = error
        except Exit as end:
            if not end.message:
                sys.stdout.flush()  # what invoke printed: else nobody can tell any more that it was lost
                raise
            wrong = end
        else:
            return
        raise _refused(explain(str(getattr(wrong, "message", wrong)), self._tasks, _context(wrong))) from None


def _refused(error: FirstlightError) -> Exit:
    from bootstrap.views.failure import render_failure

    return _told(render_failure(error), error.exit_code)


def _told(text: str, code: int) -> Exit:
    """The end after a last word; invoke itself would end with another code where standard error cannot be written."""
    if text:
        write_line(sys.stderr, text)
    return Exit(code=int(code))


def explain(said: str, tasks: Iterable[str], context: ParserContext | None) -> InputError:
    """What is wrong with a command line.

    Args:
        said: by invoke's parser.
        tasks: the names there are.
        context: the task that was being read when it was met, if any.
    """
    task = (context.name if context else None) or ""
    help_ = f"./invoke --help {task}".rstrip()
    if match := UNKNOWN.match(said):
        word = match[1]
        if word.startswith("-"):
            options = [flag for flag in context.flags if flag.startswith("--")] if context and task else MEANT
            fact = f"{task or './invoke'} has no option {word}"
            return InputError(fact, cause=nearest(word, options, prefix="--"), remedy=help_)
        return InputError(
            f'there is no task "{word}"', cause=nearest(word, tasks), remedy=help_ if task else "./invoke --list"
        )
    if match := MISSING.match(said):
        options = [f"--{name.strip(chr(39))}" for name in match[2].split(", ")]
        return InputError(f"{match[1]} needs {' and '.join(options)}", remedy=help_)
    if match := EMPTY.match(said):
        return InputError(f"--{match[1]} was given without a value", remedy=help_)
    if match := NO_GROUP.match(said):
        groups = {name.partition(".")[0] for name in tasks if "." in name}
        return InputError(
            f'there is no group of tasks "{match[1]}"', cause=nearest(match[1], groups), remedy="./invoke --list"
        )
    number = NO_NUMBER.match(said)
    fact = f'an option wants a number, found "{number[1]}"' if number else "the command line cannot be read"
    return InputError(fact, cause="" if number else said, remedy=help_)


def _context(error: Exception) -> ParserContext | None:
    context: ParserContext | None = getattr(error, "context", None)
    return context
