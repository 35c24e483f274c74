"""The lab's machine image and container images, built by the recipe in `lab/image` and cached by content."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from bootstrap.host import yaml_io
from bootstrap.host.commands import Command, CommandError
from bootstrap.host.errors import FirstlightError, InputError
from bootstrap.host.packages import SYSTEM_FOLDERS
from bootstrap.host.programs import PROGRAMS
from rehearsal.debian import BACKPORTS, RELEASE, Archive
from rehearsal.registry import THRIFT, Image
from rehearsal.storage import IMAGE, workspace
from talos.schematic import PLAIN_INSTALLER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from bootstrap.host.programs import Use
    from bootstrap.host.yaml_io import Yaml
    from rehearsal.preparation import Workshop

MACHINE_PROGRAMS: Final = (
    "machined",
    "init",
    "installer",
    "containerd",
    "containerd-shim-runc-v2",
    "runc",
    "kubelet",
    "kube-proxy",
)
CNI_PROGRAMS: Final = ("bridge", "loopback", "host-local", "portmap", "firewall")
TALOS: Final = "github.com/siderolabs/talos@v1.11.5"
MACHINERY: Final = "github.com/siderolabs/talos/pkg/machinery@v1.11.5"
# Where the packages come from: the kernel is from backports.
SUITES: Final = (RELEASE, BACKPORTS)
# How layers are packed; another way makes other images of the same files.
LAYERS: Final = f"zstd -3, writable, {' '.join(THRIFT)}".encode()
# Image and registry together take 30 s on two cores; ten minutes for one script are a machine that is stuck.
RECIPE_SECONDS: Final = 600.0


@dataclass(frozen=True)
class BootAssets:
    """What the machines boot and the trees that images are made of."""

    key: str
    kernel: Path
    initramfs: Path
    trees: Path
    bundle: Path


class ImageBuilder:
    """Builds and caches the lab's image.

    Args:
        cache: where images are kept.
        workshop: the repository whose `lab/` is the recipe, and what to build with.
    """

    def __init__(self, cache: Path, workshop: Workshop) -> None:
        self._recipe = workshop.root / "lab" / "image"
        self._list = workshop.root / "lab" / "images.yaml"
        self._cache = cache
        self._runner = workshop.runner
        self._programs = workshop.programs
        self._report = workshop.report
        self._environment = workshop.environment

    def ensure(self, authority: Path) -> BootAssets:
        """The boot assets for this recipe, these programs and this CA; built when they are not cached.

        Raises:
            InputError: a module is not to be had.
            FirstlightError: Debian's packages are not to be had, or the recipe failed.
        """
        key = self._key(authority)
        folder = self._cache / f"{IMAGE}-{key}"
        assets = BootAssets(
            key, folder / "vmlinuz", folder / "initramfs.img", folder / "trees", folder / "ca-bundle.crt"
        )
        with _held(self._cache / "image.lock"):
            if not folder.exists():
                self._build(folder, authority)
        return assets

    def images(self, assets: BootAssets, *, installer: str, uses: Collection[Use]) -> list[Image]:
        """The images of `lab/images.yaml`, their files resolved, and the installer under the name that is asked for.

        Args:
            assets: what the trees are taken from.
            installer: reference of a cluster's installer; it stands in for one with extensions, which it lacks.
            uses: an image with a program of another use is left out.
        """
        entries = cast("list[dict[str, Yaml]]", yaml_io.load_file(self._list)[0])
        images = [self._image(entry, assets) for entry in entries if is_wanted(entry, uses)]
        if installer in {image.reference for image in images}:
            return images
        return [*images, *(replace(image, reference=installer) for image in images if _installs(image))]

    def images_key(self, images: list[Image]) -> str:
        """Digest of everything that images are made of, their names among it."""
        own = [path.read_bytes() for path in sorted(self._list.parent.iterdir()) if path.is_file()]
        names = sorted({str(path) for image in images for path in image.files.values()})
        names += sorted(image.reference for image in images)
        return _digest([LAYERS, *own, *(name.encode() for name in names)])

    def _image(self, entry: dict[str, Yaml], assets: BootAssets) -> Image:
        files: dict[str, Path] = {}
        if tree := entry.get("tree"):
            files["/"] = assets.trees / str(tree)
        for name, inside in cast("dict[str, str]", entry.get("programs") or {}).items():
            files[inside] = self._programs[name]
        for source, inside in cast("dict[str, str]", entry.get("modules") or {}).items():
            module, _, rest = source.partition("@")
            version, _, path = rest.partition("/")
            files[inside] = self.module_folder(f"{module}@{version}") / path
        for source, inside in cast("dict[str, str]", entry.get("files") or {}).items():
            files[inside] = self._list.parent / source
        if entry.get("certificates"):
            files["/etc/ssl/certs/ca-certificates.crt"] = assets.bundle
        return Image(
            str(entry["image"]), files, tuple(cast("list[str]", entry["entrypoint"])), str(entry.get("user") or ""),
            tuple(cast("list[str]", entry.get("environment") or [])),
        )  # fmt: skip

    def module_folder(self, module: str) -> Path:
        """The folder of a Go module in the module cache, verified by Go against its checksum database.

        Args:
            module: path and version, joined by `@`.

        Raises:
            InputError: the module cannot be had.
        """
        # A download of some 10 MB; five minutes are a slow proxy.
        command = Command(self._programs["go"], ("mod", "download", "-json", module), self._environment, timeout=300)
        try:
            answer = json.loads(self._runner.run(command).text)
        except CommandError as error:
            raise InputError(f"the Go module {module} cannot be had", cause=error.cause) from None
        return Path(str(answer["Dir"]))

    def _key(self, authority: Path) -> str:
        recipe = [path.name.encode() + b"\0" + path.read_bytes() for path in sorted(self._recipe.iterdir())]
        programs = [str(self._programs[name]).encode() for name in (*MACHINE_PROGRAMS, *CNI_PROGRAMS)]
        return _digest([repr(SUITES).encode(), *recipe, *programs, authority.read_bytes()])

    def _build(self, folder: Path, authority: Path) -> None:
        with workspace(self._cache, IMAGE) as work:
            self._prepare(work)
            self._fetch(work / "debs")
            environment = {
                "WORK": str(work), "RECIPE": str(self._recipe), "CA": str(authority),
                "TALOS": str(self.module_folder(TALOS)),
                # An ordinary user's PATH leaves out where depmod and ldconfig are.
                "PATH": os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_FOLDERS]),
            }  # fmt: skip
            for script, text in (
                ("rootfs.sh", "building the lab's Talos image"),
                ("images.sh", "building the trees of the lab's container images"),
            ):
                self._report(text)
                self._run(script, environment)
            self._keep(work, folder)

    def _fetch(self, folder: Path) -> None:
        self._report("fetching Debian packages for the lab's machine")
        lines = (self._recipe / "packages.txt").read_text().splitlines()
        names = [name for line in lines if (name := line.partition("#")[0].strip())]
        try:
            Archive(SUITES, self._runner, self._environment).download(names, folder)
        except CommandError as error:
            raise FirstlightError("Debian's packages for the lab's machine cannot be had", cause=str(error)) from None

    def _prepare(self, work: Path) -> None:
        (work / "bin" / "cni").mkdir(parents=True)
        for name in MACHINE_PROGRAMS:
            (work / "bin" / name).symlink_to(self._programs[name])
        for name in CNI_PROGRAMS:
            (work / "bin" / "cni" / name).symlink_to(self._programs[name])
        shutil.copy(self.module_folder(MACHINERY) / "version" / "os-release", work / "os-release")

    def _run(self, script: str, environment: dict[str, str]) -> None:
        # `ldconfig -r` and device-free unpacking want to be root; a user namespace is enough.
        arguments: tuple[str, ...] = (str(self._recipe / script),)
        program = Path("/bin/bash")
        if os.geteuid() != 0:
            arguments = ("--user", "--map-root-user", str(program), *arguments)
            program = self._programs["unshare"]
        try:
            self._runner.run(Command(program, arguments, environment, timeout=RECIPE_SECONDS))
        except CommandError as error:
            raise FirstlightError(
                f"lab/image/{script} failed",
                cause=error.cause,
                remedy="look at its output: " + error.stderr[-500:],
            ) from None

    def _keep(self, work: Path, folder: Path) -> None:
        finished = work.with_name(work.name + ".done")
        finished.mkdir()
        for name in ("vmlinuz", "initramfs.img", "trees", "ca-bundle.crt"):
            (work / name).rename(finished / name)
        finished.rename(folder)


def is_wanted(entry: dict[str, Yaml], uses: Collection[Use]) -> bool:
    """Whether all programs of an entry of `lab/images.yaml` are of one of these uses."""
    return all(PROGRAMS[name].use in uses for name in cast("dict[str, str]", entry.get("programs") or {}))


def _installs(image: Image) -> bool:
    return image.reference.startswith(f"{PLAIN_INSTALLER}:")


def _digest(parts: list[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:16]


@contextmanager
def _held(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
