"""What helmfile rendered, kept with the charts that it pulled: files that are the same start no program again.

An entry is found by everything that the output follows from but the charts, and it is taken only while output and
charts are those that were kept: whatever else is there is rendered again. Values come out of Git, where no secret
lies; a chart may make one up while it renders, and an output that holds one is not kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError
from bootstrap.host.objects import mapping
from bootstrap.host.versions import build_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kube.helmfile import Helmfile

# Of what is kept on disk; another form of it gets another number.
FORM: Final = "1"
# Bytes of all entries: ten times what two clusters with charts of the real sizes need.
MOST_BYTES: Final = 200_000_000
# Seconds after which whoever was writing an entry is taken for dead; it takes a second.
_ABANDONED_SECONDS: Final = 3600.0
# A parser of all takes longer than all else here, so only what looks like a Secret is parsed.
_SEPARATOR: Final = re.compile(rb"^---.*$", re.MULTILINE)
_SECRET: Final = re.compile(rb"""kind["']?\s*:\s*["']?Secret\b""")
_SEAL, _OUTPUT, _CHARTS = "seal.json", "output", "charts"
# Where helm and helmfile leave charts, below the folder of `kube.helm.helm_environment`: of OCI registries the
# first, of HTTP repositories the second, beside indexes that are of no use.
_PULLED: Final = (("helmfile", "**/*"), ("cache/repository", "*.tgz"))


@dataclass(frozen=True)
class Kept:
    """A rendering.

    Attributes:
        output: what was rendered.
        charts: a folder with the charts that it was rendered from, laid out as `kube.helm.helm_environment` has it.
    """

    output: bytes
    charts: Path

    def restore(self, folder: Path) -> None:
        """Have the charts below a folder of `kube.helm.helm_environment`, as if they had been pulled there.

        Raises:
            OSError: the folder cannot be written.
        """
        for place, _ in _PULLED:
            shutil.rmtree(folder / place, ignore_errors=True)
        shutil.copytree(self.charts, folder, copy_function=_link_or_copy, dirs_exist_ok=True)


@dataclass(frozen=True)
class Renderings:
    """Renderings on disk.

    Attributes:
        folder: one folder an entry below it; made when there is something to keep.
        most: bytes of all entries; those that were not used for longest go first.
    """

    folder: Path
    most: int = MOST_BYTES

    def find(self, key: str) -> Kept | None:
        """The rendering that was kept under a key; None when there is none, or it is not as it was kept."""
        entry = self.folder / key
        kept = Kept(b"", entry / _CHARTS)
        try:
            kept = Kept((entry / _OUTPUT).read_bytes(), entry / _CHARTS)
            if (entry / _SEAL).read_text() != _seal(kept):
                return None
            os.utime(entry / _SEAL)
        except (OSError, ValueError):
            return None
        return kept

    def keep(self, key: str, output: bytes, pulled: Path) -> None:
        """Keep a rendering, unless it holds a secret; a disk that is full or not ours is no reason to fail.

        Args:
            key: of `key_of`.
            output: what was rendered.
            pulled: the folder of `kube.helm.helm_environment` in which it was.
        """
        if _holds_secret(output):
            return
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            made = Path(tempfile.mkdtemp(dir=self.folder, prefix=".new-"))
            try:
                _fill(made, output, pulled)
                _replace(made, self.folder / key)
            finally:
                shutil.rmtree(made, ignore_errors=True)
            self._trim()

    def _trim(self) -> None:
        entries = [(_last_used(entry), entry) for entry in self.folder.iterdir()]
        room = self.most
        for used, entry in sorted(entries, reverse=True):
            room -= sum(path.stat().st_size for path in _files(entry))
            if room < 0 or (entry.name.startswith(".") and used < time.time() - _ABANDONED_SECONDS):
                shutil.rmtree(entry, ignore_errors=True)


def key_of(file: Helmfile, programs: Iterable[Path], words: Sequence[str], *, trust: str) -> str:
    """A digest of everything that a rendering follows from but the charts, which are held against their own.

    Args:
        file: the helmfile; its folder and that of `FIRSTLIGHT_CORE` count with every file in them.
        programs: those that take part, each told by its file.
        words: what else they are told, such as the Kubernetes version.
        trust: path of the CA file by which registries are trusted; empty for the system's.
    """
    found = hashlib.sha256()
    for part in (FORM, file.file.name, file.cluster, *words, *(f"{each.name} {build_of(each)}" for each in programs)):
        found.update(f"{len(part)} {part}".encode())
    for folder in (file.file.parent, Path(file.environment["FIRSTLIGHT_CORE"])):
        found.update(_digest(folder, _files(folder)).encode())
    # Another internet may have other charts under the same names.
    found.update(Path(trust).read_bytes() if trust else b"")
    return f"{file.cluster}-{file.file.name.partition('.')[0]}-{found.hexdigest()[:32]}"


def _fill(entry: Path, output: bytes, pulled: Path) -> None:
    for place, pattern in _PULLED:
        for path in (path for path in (pulled / place).glob(pattern) if path.is_file()):
            target = entry / _CHARTS / path.relative_to(pulled)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    (entry / _OUTPUT).write_bytes(output)
    (entry / _SEAL).write_text(_seal(Kept(output, entry / _CHARTS)))


def _replace(made: Path, entry: Path) -> None:
    """Put an entry in its place; another one that is there goes aside as a whole first."""
    with suppress(FileNotFoundError):
        aside = Path(tempfile.mkdtemp(dir=entry.parent, prefix=".old-"))
        try:
            entry.replace(aside)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    made.rename(entry)


def _seal(kept: Kept) -> str:
    charts = _digest(kept.charts, _files(kept.charts))
    return json.dumps({"output": hashlib.sha256(kept.output).hexdigest(), "charts": charts})


def _digest(folder: Path, files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in files:
        found.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return found.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _last_used(entry: Path) -> float:
    seal = entry / _SEAL
    return (seal if seal.exists() else entry).stat().st_mtime


def _holds_secret(output: bytes) -> bool:
    """Whether a Secret with content is in it; what cannot be read may be one."""
    # One JSON document a line is what yq makes of definitions.
    is_json = output.startswith(b"{")
    documents = output.splitlines() if is_json else _SEPARATOR.split(output)
    try:
        for document in filter(_SECRET.search, documents):
            found = mapping(json.loads(document) if is_json else yaml_io.load(document, source="helmfile"))
            if found.get("kind") == "Secret" and (found.get("data") or found.get("stringData")):
                return True
    except (InputError, ValueError):
        return True
    return False


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
