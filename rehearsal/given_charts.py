"""Charts that an operator gives the lab in place of its stand-ins, such as the real ones; see `--charts`."""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import mapping, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CHART: Final = "Chart.yaml"
# What reading a file that is no archive, or half of one, raises.
_BROKEN: Final = (tarfile.TarError, OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class GivenChart:
    """A chart in place of a stand-in.

    Attributes:
        name: the chart's name.
        version: the chart's version.
        path: an archive as `helm package` makes it, or a chart's folder.
    """

    name: str
    version: str
    path: Path


@dataclass(frozen=True)
class Choice:
    """Which chart is published for each that is wanted.

    Attributes:
        given: in place of stand-ins, by name.
        stand_ins: names of those that stay.
        unwanted: given, but nobody asks for them.
    """

    given: Mapping[str, GivenChart]
    stand_ins: tuple[str, ...]
    unwanted: tuple[str, ...]

    def told(self, folder: Path) -> str:
        """One line for a person.

        Args:
            folder: where the charts were given.
        """
        parts = [
            f"of {folder}: {', '.join(f'{one.name} {one.version}' for one in self.given.values()) or 'none'}",
            f"stand-ins of the lab: {', '.join(self.stand_ins) or 'none'}",
        ]
        if self.unwanted:
            parts.append(f"not asked for by any file: {', '.join(self.unwanted)}")
        return f"charts {'; '.join(parts)}"


def choose(wanted: Mapping[str, str], folder: Path | None) -> Choice:
    """Take the charts of a folder in place of those stand-ins that have the same name.

    Args:
        wanted: versions by name.
        folder: with archives (`NAME-VERSION.tgz`) and chart folders; None for stand-ins alone.

    Raises:
        InputError: there is no such folder or no chart in it, a chart cannot be read or is there twice, or has another
            version than the one that is wanted; all of them at once.
    """
    if folder is None:
        return Choice({}, tuple(wanted), ())
    given: dict[str, GivenChart] = {}
    unwanted: list[str] = []
    problems: list[Problem] = []
    for path in _charts(folder):
        try:
            one = _read(path)
        except InputError as error:
            problems += error.problems
            continue
        if one.name not in wanted:
            unwanted.append(one.name)
        elif one.name in given:
            problems.append(Problem(f"{one.name} is also in {given[one.name].path.name}", str(path)))
        elif one.version != wanted[one.name]:
            words = f"{one.name} is of version {one.version}, the tree wants {wanted[one.name]}"
            problems.append(Problem(words, str(path)))
        else:
            given[one.name] = one
    if not folder.is_dir():
        problems.append(Problem("there is no such folder", str(folder)))
    elif not (given or unwanted or problems):
        problems.append(
            Problem("no chart is in it, neither NAME-VERSION.tgz nor a folder with Chart.yaml", str(folder))
        )
    if problems:
        raise InputError("the charts that were given cannot be published", tuple(problems))
    return Choice(given, tuple(name for name in wanted if name not in given), tuple(unwanted))


def _charts(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.tgz"), *(path.parent for path in folder.glob(f"*/{_CHART}"))])


def _read(path: Path) -> GivenChart:
    source = str(path / _CHART) if path.is_dir() else str(path)
    content = (path / _CHART).read_bytes() if path.is_dir() else _from_archive(path)
    document = mapping(yaml_io.load(content, source=source))
    name, version = text(document, "name"), text(document, "version")
    if not (name and version):
        raise InputError("no chart", (Problem(f"its {_CHART} has no {'version' if name else 'name'}", source),))
    return GivenChart(name, version, path)


def _from_archive(path: Path) -> bytes:
    """Chart.yaml of the chart itself, not of a chart inside it."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            for entry in archive:
                file = archive.extractfile(entry)
                if file and entry.name.removeprefix("./").partition("/")[2] == _CHART:
                    return file.read()
    except _BROKEN as error:
        raise InputError("no chart", (Problem(f"it is no archive of a chart: {error}", str(path)),)) from None
    raise InputError("no chart", (Problem(f"there is no {_CHART} in it", str(path)),))
