"""Finds pinned programs: in the cache, on PATH, or by building them."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host.builder import Builder
from bootstrap.host.clock import Clock, SystemClock
from bootstrap.host.commands import CommandError, CommandRunner
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.names import nearest
from bootstrap.host.packages import Need
from bootstrap.host.programs import PROGRAMS, Program, Use
from bootstrap.host.toolchain import Go, build_environment, find_go, needed_go, recipe_key
from bootstrap.host.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# Module and build caches, temporary files and programs when everything is built cold: 17 GB measured.
COLD_BYTES: Final = 20_000_000_000
GO_REMEDY: Final = "install Go from https://go.dev/dl and put it on PATH"


class Source(StrEnum):
    """Where a program comes from."""

    PATH = "path"
    CACHE = "cache"
    BUILD = "to build"
    MISSING = "missing"


@dataclass(frozen=True)
class Rejected:
    """A program on PATH that has the right name only.

    Attributes:
        path: where it is.
        said: its version, or what it printed instead.
    """

    path: Path
    said: str


@dataclass(frozen=True)
class Finding:
    """What was found for one pinned program.

    Attributes:
        name: the program.
        wanted: its pin, for example `3.19.x`.
        found: the version of the program that will be used; empty when it must be built.
        path: that program; None when it must be built.
        source: where it comes from.
        rejected: others of that name on PATH, which are not used.
        obstacle: why it cannot be built here; empty unless the source is missing.
    """

    name: str
    wanted: str
    found: str
    path: Path | None
    source: Source
    rejected: tuple[Rejected, ...] = ()
    obstacle: str = ""

    def __str__(self) -> str:
        """One line: name, wanted, source, path, and what is not used."""
        parts = [f"{self.name:<24} {self.wanted:<8} {self.source:<8} {self.path or ''}".rstrip()]
        parts += [f"{other.path} is not used, it says {other.said}" for other in self.rejected]
        return "; ".join([*parts, self.obstacle] if self.obstacle else parts)


def default_cache(environment: Mapping[str, str]) -> Path:
    """The user's cache folder for Firstlight: `$XDG_CACHE_HOME/firstlight` or `~/.cache/firstlight`.

    Args:
        environment: usually `os.environ`.
    """
    base = environment.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "firstlight"


class Toolbox:
    """Gives paths of pinned programs.

    Args:
        root: the repository that holds the recipes.
        cache: Firstlight's cache folder, see `default_cache`; programs live in `programs` below it.
        runner: starts programs.
        report: receives progress lines.
        search_path: folders separated by colons, usually `$PATH`.
        environment: what Go builds may inherit from; the process's own when None.
        programs: the registry.
        clock: for limits and progress.
    """

    def __init__(
        self, root: Path, cache: Path, runner: CommandRunner, report: Callable[[str], None], search_path: str,
        *, environment: Mapping[str, str] | None = None, programs: Mapping[str, Program] = PROGRAMS,
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self._root = root
        self._cache = cache / "programs"
        self._runner = runner
        self._report = report
        self._search_path = search_path
        inherited = build_environment(os.environ if environment is None else environment)
        self._environment = {**inherited, "PATH": search_path}
        self._programs = programs
        self._clock = clock or SystemClock()

    def ensure(self, names: Iterable[str]) -> dict[str, Path]:
        """Paths of programs; what is neither cached nor on PATH is built.

        Args:
            names: names of the registry; only these are built.

        Returns:
            The path of each name.

        Raises:
            InputError: a name is unknown, or Go, network or disk is missing; all problems at once.
            FirstlightError: a build failed; what was finished is kept.
        """
        findings = self.look(names)
        paths = {finding.name: finding.path for finding in findings if finding.path is not None}
        to_build = [finding for finding in findings if finding.path is None]
        if to_build:
            wanted = self._buildable(to_build)
            builder = Builder(
                self._root,
                self._cache,
                self._known_go,
                runner=self._runner,
                environment=self._environment,
                clock=self._clock,
            )
            builder.build(wanted, self._report)
            paths |= {program.name: path for path, program in wanted.items()}
        return {finding.name: paths[finding.name] for finding in findings}

    def look(self, names: Iterable[str]) -> list[Finding]:
        """What is there, without building anything.

        Args:
            names: names of the registry.

        Returns:
            One finding a name, in building order.

        Raises:
            InputError: a name is unknown.
        """
        asked = set(names)
        unknown = sorted(asked - self._programs.keys())
        if unknown:
            problems = tuple(
                Problem(f"`{name}` is not a pinned program; {nearest(name, self._programs)}") for name in unknown
            )
            raise InputError("unknown program", problems, remedy=f"known are {', '.join(self._programs)}")
        return [self._find(program) for name, program in self._programs.items() if name in asked]

    def needs(self, names: Iterable[str]) -> frozenset[Need]:
        """What `ensure` would need of the system's packages, for `SystemPackages.ensure`.

        Args:
            names: names of the registry.

        Raises:
            InputError: a name is unknown.
        """
        builds_c = any(finding.path is None and self._programs[finding.name].cgo for finding in self.look(names))
        return frozenset({Need.BUILD_C}) if builds_c else frozenset()

    def _find(self, program: Program) -> Finding:
        # First, because its name says what it was built from: to ask the programs on PATH takes a second a run.
        obstacle = self._obstacle(program)
        if not obstacle and (path := self._cached(program)).exists():
            return Finding(program.name, program.wanted, program.version, path, Source.CACHE)
        rejected: list[Rejected] = []
        if program.use is Use.OPERATOR:
            for path in self._candidates(program.name):
                version = version_of(program, path, self._runner, None)
                if version.number and program.accepts(version.number):
                    return Finding(program.name, program.wanted, version.number, path, Source.PATH, tuple(rejected))
                rejected.append(Rejected(path, version.said or "nothing"))
            if obstacle and (before := self._built_before(program)):
                return Finding(program.name, program.wanted, program.version, before, Source.CACHE, tuple(rejected))
        source = Source.MISSING if obstacle else Source.BUILD
        return Finding(program.name, program.wanted, "", None, source, tuple(rejected), obstacle)

    def _built_before(self, program: Program) -> Path | None:
        """One that was built before Go went away, or before PATH was cut as cron's is; known by what it says."""
        built = sorted(self._cache.glob(f"{program.name}-*/{program.name}"))
        return next((p for p in built if version_of(program, p, self._runner, None).number == program.version), None)

    def _candidates(self, name: str) -> list[Path]:
        """Every different executable of that name on the search path, in its order."""
        found: dict[Path, Path] = {}
        for folder in self._search_path.split(os.pathsep):
            if folder.startswith("/") and os.access(path := Path(folder, name), os.X_OK) and path.is_file():
                found.setdefault(path.resolve(), path)
        return list(found.values())

    def _obstacle(self, program: Program) -> str:
        if isinstance(self._go, str):
            return self._go
        try:
            needed = needed_go(self._root / program.recipe)
        except OSError as error:
            return f"its recipe cannot be read: {error}"
        if self._go.is_older_than(needed):
            return f"building it needs Go {needed}, {self._go.program} is {self._go.version}"
        return ""

    def _cached(self, program: Program) -> Path:
        key = recipe_key(self._root, program, self._known_go)
        return self._cache / f"{program.name}-{key}" / program.name

    @cached_property
    def _go(self) -> Go | str:
        """The toolchain, or why there is none."""
        try:
            go = find_go(self._runner, self._environment, self._search_path, self._root)
        except CommandError as error:
            return f"building it needs Go, which does not answer: {error}"
        return go or "building it needs Go, which is not on PATH"

    @property
    def _known_go(self) -> Go:
        if isinstance(self._go, str):
            raise InputError(self._go, remedy=GO_REMEDY)
        return self._go

    def _buildable(self, findings: list[Finding]) -> dict[Path, Program]:
        problems = [_problem(finding) for finding in findings if finding.source is Source.MISSING]
        programs = [self._programs[finding.name] for finding in findings if finding.source is Source.BUILD]
        if any(program.cgo for program in programs):
            problems += [
                Problem(f"{name} is not on PATH; a C program must be compiled", remedy=f"apt-get install {name}")
                for name in ("gcc", "pkg-config")
                if shutil.which(name, path=self._search_path) is None
            ]
        if programs:
            problems += [*self._disk_problems(programs), *_folder_problems(self._cache)]
        if problems:
            remedy = GO_REMEDY if any(finding.obstacle for finding in findings) else ""
            raise InputError("programs are missing", tuple(problems), remedy=remedy)
        return {self._cached(program): program for program in programs}

    def _disk_problems(self, programs: list[Program]) -> list[Problem]:
        """Space grows with what is compiled, and so does time: the table of times shares it out."""
        share = sum(program.seconds for program in programs) / sum(entry.seconds for entry in PROGRAMS.values())
        needed = int(COLD_BYTES * min(1.0, share))
        cache = self._known_go.cache
        free = shutil.disk_usage(_existing(cache)).free
        if free >= needed or free + _size(cache) >= needed:
            return []
        return [Problem(f"building needs {_gigabytes(needed)} of disk, {cache} has {_gigabytes(free)} free")]


def _problem(finding: Finding) -> Problem:
    others = [f"found {other.path}, which says {other.said}" for other in finding.rejected]
    text = "; ".join([f"{finding.name}: wanted {finding.wanted}", *(others or ["found none"]), finding.obstacle])
    return Problem(text)


def _folder_problems(cache: Path) -> list[Problem]:
    """What forbids to build into a folder that may not be there yet."""
    there = _existing(cache)
    if there.is_dir() and os.access(there, os.W_OK):
        return []
    why = "cannot be written" if there.is_dir() else "is no folder"
    return [Problem(f"{there} {why}; programs are built into {cache}", remedy="FIRSTLIGHT_CACHE names another folder")]


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _size(folder: Path) -> int:
    """Bytes in a folder: what Go's build cache holds already need not be built into it again."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
