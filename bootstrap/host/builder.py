"""Builds pinned programs from their recipes into a cache that several runs may share."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from bootstrap.host.commands import Command, CommandError, CommandRunner, Result
from bootstrap.host.errors import FirstlightError, InputError, WaitTimeoutError
from bootstrap.host.files import write_atomically
from bootstrap.host.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bootstrap.host.clock import Clock
    from bootstrap.host.programs import ModuleCopy, Program
    from bootstrap.host.toolchain import Go

# The slowest cold build took 3 min on two cores with its downloads; a slow line may need ten times as long.
BUILD_SECONDS: Final = 2400.0
# One module of at most 100 MB.
DOWNLOAD_SECONDS: Final = 900.0
# Often enough to show life, seldom enough for a log.
REPORT_SECONDS: Final = 30.0
# Everything built cold takes about half an hour; another run that needs four times that is stuck.
LOCK_SECONDS: Final = 7200.0
LOCK_POLL_SECONDS: Final = 1.0
# A warm cache makes builds much faster than the table, but never free.
FASTEST_PACE: Final = 0.02

_NETWORK_SIGNS: Final = (
    "dial tcp", "no such host", "i/o timeout", "connection refused", "connection reset", "proxyconnect",
    "TLS handshake timeout", "tls: failed to verify certificate", "network is unreachable", "reading http",
    "module lookup disabled",
)  # fmt: skip


@dataclass
class Progress:
    """Which of how many, for how long already, how long still.

    Attributes:
        programs: all that will be built, in order.
        clock: for elapsed time.
        report: receives the lines.
    """

    programs: Sequence[Program]
    clock: Clock
    report: Callable[[str], None]
    _began: float = field(init=False)
    _done: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._began = self.clock.monotonic()

    def start(self) -> None:
        """Say what is going to happen."""
        total = sum(program.seconds for program in self.programs)
        names = ", ".join(program.name for program in self.programs)
        self.report(f"{len(self.programs)} to build ({names}); {_span(total)} when nothing is cached")

    def show(self, program: Program, text: str, spent: float = 0.0) -> None:
        """One line about the program at work.

        Args:
            program: which.
            text: what it is doing.
            spent: seconds already spent on it.
        """
        self._line(self._done + 1, program, text, spent)

    def finish(self, program: Program, text: str) -> None:
        """Count a program as finished and say so."""
        self._done += 1
        self._line(self._done, program, text, 0.0)

    def _line(self, number: int, program: Program, text: str, spent: float) -> None:
        elapsed = self.clock.monotonic() - self._began
        left = _span(self._left(elapsed, spent))
        which = f"{number}/{len(self.programs)} {program.name} {program.version}".rstrip()
        self.report(f"{which}: {text}; {_span(elapsed)} elapsed, about {left} left")

    def _left(self, elapsed: float, spent: float) -> float:
        finished = sum(program.seconds for program in self.programs[: self._done])
        rest = sum(program.seconds for program in self.programs[self._done :])
        pace = max(FASTEST_PACE, (elapsed - spent) / finished) if finished else 1.0
        return max(0.0, rest * pace - spent)


class Builder:
    """Builds programs one after the other, each with all cores, and keeps every finished one.

    Args:
        root: the repository that holds the recipes.
        cache: folder of the finished programs.
        go: the toolchain.
        runner: starts `go` and asks the finished programs for their version.
        environment: as `toolchain.build_environment` gave it.
        clock: for limits and progress.
    """

    def __init__(
        self, root: Path, cache: Path, go: Go, *, runner: CommandRunner, environment: Mapping[str, str],
        clock: Clock,
    ) -> None:  # fmt: skip
        self._root = root
        self._cache = cache
        self._runner = runner
        self._go = go
        self._environment = environment
        self._clock = clock

    def build(self, wanted: Mapping[Path, Program], report: Callable[[str], None]) -> None:
        """Build what is not there yet.

        Args:
            wanted: for each program the file that it becomes, in building order.
            report: receives progress lines.

        Raises:
            InputError: network or disk is missing.
            FirstlightError: a build failed or made another version than the pin; finished programs are kept.
            WaitTimeoutError: another run held a recipe for too long.
        """
        progress = Progress(tuple(wanted.values()), self._clock, report)
        progress.start()
        for recipe in dict.fromkeys(program.recipe for program in wanted.values()):
            mine = {path: program for path, program in wanted.items() if program.recipe == recipe}
            with self._locked(recipe, report):
                self._build_recipe(recipe, mine, progress)

    def _build_recipe(self, recipe: str, wanted: Mapping[Path, Program], progress: Progress) -> None:
        with self._work_folder(recipe) as work:
            to_build = [program for target, program in wanted.items() if not target.exists()]
            if to_build:
                self._prepare(work, to_build, progress)
            for target, program in wanted.items():
                if program not in to_build:
                    progress.finish(program, "another run built it")
                    continue
                began = self._clock.monotonic()
                self._build_one(work, program, target, progress)
                progress.finish(program, f"ready after {_span(self._clock.monotonic() - began)}")

    def _prepare(self, work: Path, programs: Sequence[Program], progress: Progress) -> None:
        copies = {copy: program for program in programs for copy in program.copies}
        for copy, program in copies.items():
            progress.show(program, f"fetching {copy.module}")
            source = self._download(copy, work, program)
            copy_folder(source, work / copy.into)
            for name, text in copy.added:
                write_atomically(work / copy.into / name, text.encode())
        copy_folder(self._root / programs[0].recipe, work)
        (work / ".tmp").mkdir()

    def _download(self, copy: ModuleCopy, work: Path, program: Program) -> Path:
        arguments = ("mod", "download", "-json", f"{copy.module}@{copy.version}")
        # In a folder without go.mod, so that no replace takes effect.
        answer = self._go_command(program, arguments, work, DOWNLOAD_SECONDS)
        found: dict[str, str] = json.loads(answer.stdout)
        if found["Sum"] != copy.digest:
            raise FirstlightError(
                f"{copy.module}@{copy.version} is not what was pinned",
                cause=f"its checksum is {found['Sum']}, the pin is {copy.digest}",
            )
        return Path(found["Dir"])

    def _build_one(self, work: Path, program: Program, target: Path, progress: Progress) -> None:
        made = work / ".out" / program.name
        binary = made / program.name
        made.mkdir(parents=True)
        with self._heartbeat(program, progress):
            self._go_command(program, _build_arguments(program, binary), work, BUILD_SECONDS)
        version = version_of(program, binary, self._runner, self._go)
        if version.number != program.version and program.asks is not None:
            raise FirstlightError(
                f"{program.name} was built from {program.recipe} but is another version",
                cause=f"wanted {program.version}, it says {version.said}",
            )
        for source, name in program.keeps:
            copy_folder(work / source, made / name)
        with binary.open("rb") as file:
            os.fsync(file.fileno())
        shutil.rmtree(target.parent, ignore_errors=True)  # somebody deleted the program and left its folder
        made.rename(target.parent)

    def _go_command(self, program: Program, arguments: tuple[str, ...], work: Path, seconds: float) -> Result:
        environment = {
            **self._environment,
            "CGO_ENABLED": "1" if program.cgo else "0",
            **dict(program.environment),
        }
        if (work / ".tmp").exists():
            environment["GOTMPDIR"] = str(work / ".tmp")  # goes with the folder, even after a kill
        try:
            return self._runner.run(
                Command(self._go.program, arguments, environment=environment, timeout=seconds, folder=work)
            )
        except CommandError as error:
            log = self._cache / "failed" / f"{program.name}.log"
            with contextlib.suppress(OSError):  # the disk may be the very problem
                write_atomically(log, f"{error.fact}\n{error.stdout}{error.stderr}".encode())
            raise _explained(program, error, log) from None

    @contextlib.contextmanager
    def _heartbeat(self, program: Program, progress: Progress) -> Iterator[None]:
        ended = threading.Event()
        began = self._clock.monotonic()
        progress.show(program, "building")

        def beat() -> None:
            while not self._clock.pause(REPORT_SECONDS, ended):
                spent = self._clock.monotonic() - began
                progress.show(program, f"building for {_span(spent)}", spent)

        thread = threading.Thread(target=beat, name=f"progress-{program.name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextlib.contextmanager
    def _work_folder(self, recipe: str) -> Iterator[Path]:
        """An empty build folder; the lock makes it safe to remove what a killed build of this recipe left."""
        parent = self._cache / "work" / _flat(recipe)
        shutil.rmtree(parent, ignore_errors=True)
        parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield work
        finally:
            shutil.rmtree(parent, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self, recipe: str, report: Callable[[str], None]) -> Iterator[None]:
        path = self._cache / "locks" / _flat(recipe)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as file:
            self._take(file, recipe, report)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def _take(self, file: IO[str], recipe: str, report: Callable[[str], None]) -> None:
        began = self._clock.monotonic()
        said = -REPORT_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                return
            waited = self._clock.monotonic() - began
            file.seek(0)
            holder = file.read().strip() or "unknown"
            if waited >= LOCK_SECONDS:
                raise WaitTimeoutError(
                    f"{recipe} stays locked", cause=f"process {holder} has held it for {_span(waited)}"
                )
            if waited - said >= REPORT_SECONDS:
                report(f"waiting for process {holder}, which builds {recipe}; waited {_span(waited)}")
                said = waited
            self._clock.pause(LOCK_POLL_SECONDS, threading.Event())


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder's files with fresh permissions: the module cache is read-only, a build folder is not."""
    for path in sorted(source.rglob("*")):
        there = target / path.relative_to(source)
        if path.is_dir():
            there.mkdir(parents=True, exist_ok=True)
        else:
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, there)


def _build_arguments(program: Program, binary: Path) -> tuple[str, ...]:
    variables = (f"-X={name}={value}" for name, value in program.variables)
    return (
        "build", "-trimpath", "-buildvcs=false", "-mod=readonly", f"-tags={','.join(program.tags)}",
        f"-ldflags={' '.join(['-s', '-w', *variables])}", "-o", str(binary), program.package,
    )  # fmt: skip


def _explained(program: Program, error: CommandError, log: Path) -> FirstlightError:
    text = error.stderr or error.stdout
    kept = "what is finished is kept; run the same command again"
    if "no space left on device" in text:
        return InputError(
            f"{program.name} was not built: the disk is full", cause=error.cause, remedy=f"free space; {kept}"
        )
    if any(sign in text for sign in _NETWORK_SIGNS):
        return InputError(
            f"{program.name} was not built: its sources cannot be fetched", cause=_network_line(text),
            remedy=f"check the network, GOPROXY and HTTPS_PROXY; {kept}",
        )  # fmt: skip
    return FirstlightError(f"{program.name} was not built: {error.fact}", cause=error.cause, remedy=f"read {log}")


def _network_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if any(sign in line for sign in _NETWORK_SIGNS)]
    return lines[-1]


def _flat(recipe: str) -> str:
    return recipe.replace("/", "-")


def _span(seconds: float) -> str:
    """`42 s` or `3 min 05 s`."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"  # noqa: PLR2004 # a minute
