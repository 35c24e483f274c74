"""The lab's charts: stand-ins of `lab/charts`, packaged under the names and versions that the tree asks for."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bootstrap.host.commands import Command
from bootstrap.host.errors import FirstlightError, InputError, Problem
from bootstrap.host.files import write_atomically
from bootstrap.host.objects import Object, mapping, objects, text
from bootstrap.host.yaml_io import load_file
from rehearsal.given_charts import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bootstrap.host.commands import CommandRunner
    from rehearsal.given_charts import Choice

# What each chart folder says about its publication; .helmignore keeps it out of the package.
RECIPE: Final = "lab.yaml"
# The same content gives the same archive: every file is from this moment (2023-11-14).
MODIFIED: Final = 1_700_000_000
# Seconds for `helm package` of a few small files, on a machine that emulates another one meanwhile.
PACKAGE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class PackagedChart:
    """A chart ready to be published.

    Attributes:
        name: the chart's name.
        version: the chart's version.
        file: the archive, `<name>-<version>.tgz`.
        repository: where the tree looks for it: `oci://host/path` (the chart's name follows) or an HTTPS URL.
    """

    name: str
    version: str
    file: Path
    repository: str


@dataclass(frozen=True)
class _Recipe:
    name: str
    version: str
    repository: str
    files: tuple[Object, ...]


def package(
    charts: Path,
    destination: Path,
    helm: Path,
    runner: CommandRunner,
    module_folder: Callable[[str, str], Path],
    *,
    given: Path | None = None,
) -> list[PackagedChart]:
    """Package every chart of a folder; the same content gives the same bytes.

    Args:
        charts: the folder of chart folders, each with `Chart.yaml` and `lab.yaml`.
        destination: gets the archives; made when missing.
        helm: the program.
        runner: starts it.
        module_folder: the folder of a Go module, by its path and version, for the files that a chart takes from
            the program it stands for.
        given: folder of charts that are published in place of those of the same name; None for none.

    Returns:
        The packages in the order of their names.

    Raises:
        InputError: a chart without name, version or repository, or one that was given cannot be published; all of
            them at once.
        FirstlightError: a module has none of the files that a chart takes.
        CommandError: helm refused a chart.
    """
    recipes = _read_recipes(charts)
    chosen = choose(_versions(recipes), given).given
    destination.mkdir(parents=True, exist_ok=True)
    packages = []
    for folder, recipe in recipes:
        target = destination / f"{recipe.name}-{recipe.version}.tgz"
        one = chosen.get(recipe.name)
        if one and one.path.is_file():
            # As its publisher made it, to the byte.
            content = one.path.read_bytes()
        else:
            with tempfile.TemporaryDirectory(prefix="firstlight-chart-") as scratch:
                staged = Path(scratch) / recipe.name
                shutil.copytree(one.path if one else folder, staged)
                for entry in () if one else recipe.files:
                    _add_module_files(entry, staged, module_folder)
                arguments = ("package", str(staged), "--destination", scratch)
                runner.run(Command(helm, arguments, timeout=PACKAGE_SECONDS))
                content = without_times((Path(scratch) / target.name).read_bytes())
        write_atomically(target, content)
        # `helm push` makes the file's time part of the manifest, and so of the digest.
        os.utime(target, (MODIFIED, MODIFIED))
        packages.append(PackagedChart(recipe.name, recipe.version, target, recipe.repository))
    return packages


@dataclass(frozen=True)
class ChartNeeds:
    """What publishing the charts takes.

    Attributes:
        hosts: names of the HTTP chart repositories among their destinations.
        modules: Go modules that files come from, `path@version`.
    """

    hosts: tuple[str, ...]
    modules: tuple[str, ...]


def choice(charts: Path, given: Path | None) -> Choice:
    """Which of the charts of a folder are published, and which that were given in their place.

    Raises:
        InputError: as `chart_needs` and `rehearsal.given_charts.choose`.
    """
    return choose(_versions(_read_recipes(charts)), given)


def chart_needs(charts: Path) -> ChartNeeds:
    """What publishing the charts of a folder takes.

    Raises:
        InputError: a chart without name, version or repository; all of them at once.
    """
    recipes = [recipe for _, recipe in _read_recipes(charts)]
    urls = [urlsplit(recipe.repository) for recipe in recipes]
    modules = {f"{text(entry, 'module')}@{text(entry, 'version')}" for recipe in recipes for entry in recipe.files}
    return ChartNeeds(tuple(sorted({url.netloc for url in urls if url.scheme == "https"})), tuple(sorted(modules)))


def sources_digest(charts: Path) -> str:
    """A digest of everything in a folder of charts; what is packaged from the same files is the same."""
    digest = hashlib.sha256()
    for file in sorted(path for path in charts.rglob("*") if path.is_file()):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(charts)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def without_times(archive: bytes) -> bytes:
    """The same gzipped tar with fixed times and a fixed order; helm writes the time of packaging into it."""
    content = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as source,
        tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as target,
    ):
        for entry in sorted(source.getmembers(), key=_chart_first):
            entry.mtime = MODIFIED
            target.addfile(entry, source.extractfile(entry))
    return gzip.compress(content.getvalue(), mtime=MODIFIED)


def _chart_first(entry: tarfile.TarInfo) -> tuple[bool, str]:
    # Some readers take the chart's name from the first file.
    return not entry.name.endswith("/Chart.yaml"), entry.name


def _read_recipes(charts: Path) -> list[tuple[Path, _Recipe]]:
    found: list[tuple[Path, _Recipe]] = []
    problems: list[Problem] = []
    for file in sorted(charts.glob("*/Chart.yaml")):
        chart, recipe = _document(file), _document(file.parent / RECIPE)
        name, version, repository = text(chart, "name"), text(chart, "version"), text(recipe, "repository")
        for key, value, where in (
            ("name", name, file),
            ("version", version, file),
            ("repository", repository, file.parent / RECIPE),
        ):
            if not value:
                problems.append(Problem(f"no `{key}`", str(where)))
        found.append((file.parent, _Recipe(name, version, repository, tuple(objects(recipe, "files")))))
    if not found:
        problems.append(Problem("no folder with a Chart.yaml", str(charts)))
    if problems:
        raise InputError("the lab's charts cannot be packaged", tuple(problems))
    return found


def _versions(recipes: Iterable[tuple[Path, _Recipe]]) -> dict[str, str]:
    return {recipe.name: recipe.version for _, recipe in recipes}


def _document(path: Path) -> Object:
    documents = load_file(path)
    return mapping(documents[0]) if documents else {}


def _add_module_files(entry: Object, staged: Path, module_folder: Callable[[str, str], Path]) -> None:
    module, version, pattern = (text(entry, key) for key in ("module", "version", "path"))
    files = sorted(module_folder(module, version).glob(pattern))
    if not files:
        raise FirstlightError(
            f"the chart {staged.name} gets no files", cause=f"{module}@{version} has nothing that matches {pattern}"
        )
    target = staged / text(entry, "to")
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        # Content only: the module cache is read-only, and its files would be so too.
        (target / file.name).write_bytes(file.read_bytes())
