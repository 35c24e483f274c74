"""The lab's OCI registry: pushes images made of folder trees, one layer of zstd each."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import stat
import tarfile
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bootstrap.host.commands import Command
from bootstrap.host.errors import FirstlightError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from bootstrap.host.commands import CommandRunner

# The same content gives the same digest: every file is from this moment.
MODIFIED = 1_700_000_000
# Seconds for one request; the largest layer is 200 MB on the same machine.
PUSH_SECONDS = 120.0
# Processor time is what an emulated machine lacks, memory is not: Go programs collect garbage a fifth as often, and run
# their goroutines in turns. What a second thread wakes, looks through and puts to sleep again was a fifth of it all.
THRIFT = ("GOGC=500", "GOMAXPROCS=1")
CREATED, OK, ACCEPTED = 201, 200, 202


@dataclass(frozen=True)
class Image:
    """An image of the lab.

    Attributes:
        reference: host, repository and tag, as the cluster asks for it.
        files: path inside the image to a file or folder of ours; folders are copied whole.
        entrypoint: what runs; a path inside the image first.
        user: numeric user and group; empty is root.
        environment: environment of the process, NAME=value.
    """

    reference: str
    files: Mapping[str, Path]
    entrypoint: tuple[str, ...]
    user: str = ""
    environment: tuple[str, ...] = ()

    @property
    def repository(self) -> str:
        """The repository without host and tag."""
        return self.reference.partition("/")[2].rpartition(":")[0]

    @property
    def tag(self) -> str:
        """The tag."""
        return self.reference.rpartition(":")[2]


def images_to_json(images: list[Image]) -> str:
    """Images as JSON, for `images_from_json`."""
    return json.dumps([asdict(image) for image in images], default=str, indent=1)


def images_from_json(text: str) -> list[Image]:
    """Images back from `images_to_json`."""
    return [
        Image(
            one["reference"], {inside: Path(path) for inside, path in one["files"].items()}, tuple(one["entrypoint"]),
            one["user"], tuple(one["environment"]),
        )
        for one in json.loads(text)
    ]  # fmt: skip


@dataclass(frozen=True)
class Blob:
    """What a registry keeps: digest with its algorithm, and size in bytes."""

    digest: str
    size: int


class Registry:
    """A client of the registry's HTTP API (OCI distribution specification 1.1).

    Args:
        name: a name that its certificate holds.
        trust: the CA file.
        zstd: the program that packs layers, only needed to push.
        runner: runs it.
    """

    def __init__(self, name: str, trust: Path, zstd: Path, runner: CommandRunner) -> None:
        self._name = name
        self._zstd = zstd
        self._runner = runner
        self._context = ssl.create_default_context(cafile=str(trust))

    def answers(self) -> bool:
        """Whether the registry serves."""
        try:
            return self._request("GET", "/v2/")[0] == OK
        except OSError:
            return False

    def push(self, image: Image) -> int:
        """Push an image; blobs that are there are not sent again.

        Returns:
            Bytes of its packed layer.

        Raises:
            FirstlightError: the registry refused.
        """
        with tempfile.TemporaryDirectory(prefix="firstlight-layer-") as folder:
            plain, packed = Path(folder) / "layer.tar", Path(folder) / "layer.tar.zst"
            with plain.open("w+b") as tar:
                contents = write_layer(image.files, tar)[0]
            self._compress(plain, packed)
            with packed.open("rb") as file:
                layer = Blob(f"sha256:{_file_digest(file)}", file.tell())
                file.seek(0)
                self._blob(image.repository, layer.digest, file, layer.size)
        config = json.dumps(_config(image, contents), sort_keys=True).encode()
        described = Blob(_digest(config), len(config))
        self._blob(image.repository, described.digest, config, described.size)
        manifest = json.dumps(_manifest(layer, described), sort_keys=True).encode()
        headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        path = f"/v2/{image.repository}/manifests/{image.tag}"
        self._expect(CREATED, "PUT", path, manifest, headers)
        return layer.size

    def _compress(self, source: Path, target: Path) -> None:
        # An emulated processor unpacks zstd at 125 MB/s; it decrypts what crosses the network at 28 MB/s.
        arguments = ("--quiet", "-3", str(source), "-o", str(target))
        self._runner.run(Command(self._zstd, arguments, timeout=PUSH_SECONDS))

    def _blob(self, repository: str, digest: str, content: bytes | IO[bytes], size: int) -> None:
        if self._request("HEAD", f"/v2/{repository}/blobs/{digest}")[0] == OK:
            return
        headers = self._expect(ACCEPTED, "POST", f"/v2/{repository}/blobs/uploads/", b"", {})
        url = urlsplit(headers["location"])
        path = f"{url.path}?{url.query}&digest={digest}" if url.query else f"{url.path}?digest={digest}"
        length = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self._expect(CREATED, "PUT", path, content, length)

    def _expect(
        self, status: int, method: str, path: str, body: bytes | IO[bytes], headers: dict[str, str]
    ) -> dict[str, str]:
        seen, answer, text = self._request(method, path, body, headers)
        if seen != status:
            raise FirstlightError(f"the lab's registry refused {method} {path}", cause=f"{seen}: {text[:300]}")
        return answer

    def _request(
        self, method: str, path: str, body: bytes | IO[bytes] = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPSConnection(self._name, timeout=PUSH_SECONDS, context=self._context)
        try:
            connection.request(method, path, body or None, headers or {})
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            return response.status, {name.lower(): value for name, value in response.getheaders()}, text
        finally:
            connection.close()


def write_layer(files: Mapping[str, Path], target: IO[bytes]) -> tuple[str, int]:
    """Write a layer as tar, the same for the same content; the file is left at its start.

    Returns:
        The digest with its algorithm, and the size in bytes.
    """
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for inside, path in sorted(files.items()):
            _add_parents(tar, inside)
            _add(tar, inside.strip("/"), path)
    size = target.tell()
    target.seek(0)
    digest = _file_digest(target)
    target.seek(0)
    return f"sha256:{digest}", size


def _file_digest(file: IO[bytes]) -> str:
    total = hashlib.sha256()
    while part := file.read(1 << 20):
        total.update(part)
    return total.hexdigest()


def _add_parents(tar: tarfile.TarFile, inside: str) -> None:
    known = set(tar.getnames())
    for parent in reversed([str(part) for part in Path(inside.strip("/")).parents if str(part) != "."]):
        if parent not in known:
            entry = tarfile.TarInfo(parent)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, MODIFIED
            tar.addfile(entry)


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    if name:
        entry = tar.gettarinfo(str(path), name)
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = MODIFIED
        # Go's module cache is read-only; a program that copies such a folder could not write into its copy.
        entry.mode |= stat.S_IWUSR
        if entry.isreg():
            with path.open("rb") as file:
                tar.addfile(entry, file)
        else:
            tar.addfile(entry)
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            _add(tar, f"{name}/{child.name}".lstrip("/"), child)


def _config(image: Image, layer: str) -> dict[str, object]:
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    # A Go program takes the first of two values.
    environment = {one.partition("=")[0]: one for one in (path, *THRIFT, *image.environment)}
    settings: dict[str, object] = {
        "Env": [*environment.values()],
        "Entrypoint": list(image.entrypoint),
    }
    if image.user:
        settings["User"] = image.user
    return {
        "architecture": "amd64", "os": "linux", "created": "2023-11-14T22:13:20Z", "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [layer]}, "history": [{"created_by": "firstlight"}],
    }  # fmt: skip


def _manifest(layer: Blob, config: Blob) -> dict[str, object]:
    kind = "application/vnd.oci.image"
    return {
        "schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json",
        "config": {"mediaType": f"{kind}.config.v1+json", "digest": config.digest, "size": config.size},
        "layers": [{"mediaType": f"{kind}.layer.v1.tar+zstd", "digest": layer.digest, "size": layer.size}],
    }  # fmt: skip


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
