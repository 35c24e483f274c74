"""Image layers are the same for the same content, and the real registry takes them over TLS."""

from __future__ import annotations

import hashlib
import io
import json
import os
import ssl
import tarfile
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import Command
from bootstrap.host.errors import FirstlightError
from bootstrap.host.packages import this_system
from rehearsal.registry import Image, Registry, images_from_json, images_to_json, write_layer
from rehearsal.web import Request, Response, serve
from tests.unit.rehearsal.bench import Trust, free_port, make_trust, runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def make_tree(folder: Path, *, reverse: bool = False) -> Path:
    names = ["bin/tool", "etc/settings", "etc/zone"]
    for name in reversed(names) if reverse else names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}\n")
    (folder / "bin" / "tool").chmod(0o755)
    (folder / "sbin").symlink_to("bin")
    return folder


def layer(files: dict[str, Path]) -> tuple[str, bytes]:
    target = io.BytesIO()
    digest, size = write_layer(files, target)
    assert len(target.getvalue()) == size
    assert target.tell() == 0
    return digest, target.getvalue()


def test_a_layer_depends_on_content_only(tmp_path: Path) -> None:
    one, two = make_tree(tmp_path / "one"), make_tree(tmp_path / "two", reverse=True)
    os.utime(two / "etc" / "zone", (1, 1))
    if os.geteuid() == 0:
        os.chown(two / "etc" / "zone", 1000, 1000)
    assert layer({"/": one}) == layer({"/": two})

    (two / "etc" / "zone").write_text("other\n")
    assert layer({"/": one}) != layer({"/": two})


def test_a_layer_holds_trees_programs_and_their_parents(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    digest, content = layer({"/": tree, "/usr/local/bin/tool": tree / "bin" / "tool", "/data": tree / "etc"})
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = tar.getmembers()
    entries = {entry.name: entry for entry in members}
    assert sorted(entry.name for entry in members) == [
        "bin", "bin/tool", "data", "data/settings", "data/zone", "etc", "etc/settings", "etc/zone", "sbin",
        "usr", "usr/local", "usr/local/bin", "usr/local/bin/tool",
    ]  # fmt: skip
    assert entries["usr/local/bin/tool"].mode == 0o755
    assert entries["sbin"].linkname == "bin"
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in entries.values()} == {
        (0, 0, "", 1_700_000_000)
    }
    assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize(
    ("reference", "repository", "tag"),
    [
        ("ghcr.io/siderolabs/kubelet:v1.34.1", "siderolabs/kubelet", "v1.34.1"),
        ("registry.k8s.io/pause:3.10", "pause", "3.10"),
        ("localhost:5000/a/b/c:1", "a/b/c", "1"),
    ],
)
def test_references(reference: str, repository: str, tag: str) -> None:
    image = Image(reference, {}, ("/x",))
    assert (image.repository, image.tag) == (repository, tag)


def test_images_survive_json(tmp_path: Path) -> None:
    images = [
        Image("ghcr.io/a/b:1", {"/x": tmp_path / "x"}, ("/x", "run"), "65532:65532", ("A=1",)),
        Image("ghcr.io/a/c:2", {}, ("/y",)),
    ]
    assert images_from_json(images_to_json(images)) == images


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return make_trust(tmp_path / "trust")


def zstd() -> Path:
    found = this_system(os.environ).find("zstd")
    assert found, "zstd is not installed: apt-get install zstd"
    return found


def client(name: str, authority: Path) -> Registry:
    return Registry(name, authority, zstd(), runner())


@pytest.fixture
def registry(tmp_path: Path, trust: Trust, programs: Callable[[str], Path]) -> Iterator[str]:
    """The real program on a port of 127.0.0.1; its name with the port."""
    name = f"localhost:{free_port()}"
    configuration = {
        "version": 0.1, "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "storage")}},
        "http": {"addr": name, "tls": {"certificate": str(trust.pair[0]), "key": str(trust.pair[1])}},
    }  # fmt: skip
    (tmp_path / "registry.yml").write_text(json.dumps(configuration))
    command = Command(programs("registry"), ("serve", str(tmp_path / "registry.yml")), {"OTEL_TRACES_EXPORTER": "none"})
    daemon = runner().start(command, log=tmp_path / "registry.log")
    deadline = time.monotonic() + 20  # it opens its port within a second
    while not client(name, trust.authority).answers():
        assert time.monotonic() < deadline, (tmp_path / "registry.log").read_text()
        time.sleep(0.02)
    yield name
    daemon.end()


def fetch(name: str, path: str, trust: Trust) -> tuple[bytes, str]:
    context = ssl.create_default_context(cafile=str(trust.authority))
    headers = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"https://{name}{path}", headers=headers)
    with urllib.request.urlopen(request, context=context) as answer:  # noqa: S310 # our own registry
        return answer.read(), answer.headers["Docker-Content-Digest"]


def test_what_is_pushed_comes_back(registry: str, trust: Trust, tmp_path: Path) -> None:
    image = Image(
        f"{registry}/a/b:1.0",
        {"/": make_tree(tmp_path / "tree")},
        ("/bin/tool", "run"),
        "65532:65532",
        ("A=1", "GOGC=7"),
    )
    pushing = client(registry, trust.authority)

    size = pushing.push(image)
    body, digest = fetch(registry, "/v2/a/b/manifests/1.0", trust)
    manifest = json.loads(body)
    content, _ = fetch(registry, f"/v2/a/b/blobs/{manifest['layers'][0]['digest']}", trust)
    config = json.loads(fetch(registry, f"/v2/a/b/blobs/{manifest['config']['digest']}", trust)[0])

    assert manifest["layers"][0]["size"] == size == len(content)
    assert manifest["layers"][0]["mediaType"].endswith("tar+zstd")
    unpacked = runner().run(Command(zstd(), ("--decompress", "--stdout"), stdin=content)).stdout
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(unpacked).hexdigest()}"]
    assert config["config"]["Entrypoint"] == ["/bin/tool", "run"]
    assert config["config"]["User"] == "65532:65532"
    environment = config["config"]["Env"]
    # Of two values a program might take either.
    assert [one for one in environment if one.startswith(("A=", "GOGC="))] == ["GOGC=7", "A=1"]

    pushing.push(image)
    assert fetch(registry, "/v2/a/b/manifests/1.0", trust)[1] == digest


def test_a_registry_that_refuses_is_quoted(trust: Trust, tmp_path: Path) -> None:
    def handle(request: Request) -> Response:
        return Response(404 if request.method == "HEAD" else 507, (), b"no space left")

    port = free_port()
    serve("127.0.0.1", port, handle, tls=trust.pair)
    image = Image(f"localhost:{port}/a/b:1", {"/": make_tree(tmp_path / "tree")}, ("/x",))
    with pytest.raises(FirstlightError) as refused:
        client(f"localhost:{port}", trust.authority).push(image)
    assert "refused POST /v2/a/b/blobs/uploads/" in refused.value.fact
    assert refused.value.cause == "507: no space left"


def test_a_blob_that_is_there_is_not_sent_again(trust: Trust, tmp_path: Path) -> None:
    asked: list[str] = []

    def handle(request: Request) -> Response:
        asked.append(f"{request.method} {request.path.rpartition('/')[0]}")
        return Response(200, (), b"")

    port = free_port()
    serve("127.0.0.1", port, handle, tls=trust.pair)
    image = Image(f"localhost:{port}/a/b:1", {"/": make_tree(tmp_path / "tree")}, ("/x",))
    with pytest.raises(FirstlightError, match="refused PUT /v2/a/b/manifests/1"):  # which this server does not take
        client(f"localhost:{port}", trust.authority).push(image)
    assert asked == ["HEAD /v2/a/b/blobs", "HEAD /v2/a/b/blobs"]


def test_a_client_without_the_labs_ca_is_told_so_by_tls(registry: str, tmp_path: Path) -> None:
    other = make_trust(tmp_path / "other")
    assert not client(registry, other.authority).answers()
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch(registry, "/v2/", other)
