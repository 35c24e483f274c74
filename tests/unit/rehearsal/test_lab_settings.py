"""The supervisor reads back what was written for it; the list of images resolves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.commands import Result
from bootstrap.host.errors import InputError
from inventory.loader import load
from rehearsal.certificates import ensure_authority
from rehearsal.charts import chart_needs
from rehearsal.image import ImageBuilder
from rehearsal.lab import Lab, Workshop, check_resources, prepare
from rehearsal.locks import is_held, try_lock
from rehearsal.settings import MODULES_FILE, LabSettings, from_json
from tests.unit.rehearsal.bench import MACHINE, Script, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.commands import Command

ROOT = Path(__file__).parents[3]


def test_settings_survive_json(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, tmp_path, {"ip": Path("/sbin/ip")}, machines=(MACHINE, MACHINE))
    assert from_json(settings.to_json()) == settings
    assert from_json(settings.to_json()).to_json() == settings.to_json()


def test_settings_hold_no_secret(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, tmp_path, {})
    assert "PRIVATE" not in settings.to_json()
    assert settings.authority_key.stat().st_mode & 0o777 == 0o600


class _Modules(Script):
    """A `go` whose module cache holds every module."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def run(self, command: Command) -> Result:
        self.asked.append(command)
        return Result(0, json.dumps({"Dir": str(self._folder / str(command.arguments[-1]))}).encode(), b"", 0.0)


class _Everything(dict[str, Path]):
    def __missing__(self, name: str) -> Path:
        return Path("/programs") / name


def make_builder(tmp_path: Path, reported: list[str]) -> ImageBuilder:
    workshop = Workshop(ROOT, _Modules(tmp_path / "modules"), _Everything(), reported.append, {})  # type: ignore[arg-type]  # a fake of the one method that is called
    return ImageBuilder(tmp_path, workshop)


def test_the_list_of_images_resolves(tmp_path: Path) -> None:
    from rehearsal.image import BootAssets

    assets = BootAssets("0", tmp_path / "vmlinuz", tmp_path / "initramfs", tmp_path / "trees", tmp_path / "bundle")
    builder = make_builder(tmp_path, [])
    images = {image.reference: image for image in builder.images(assets)}

    assert len(images) == len(yaml_io.load_file(ROOT / "lab" / "images.yaml")[0])  # type: ignore[arg-type]  # a list
    assert images["ghcr.io/siderolabs/kubelet:v1.34.1"].files == {"/": tmp_path / "trees" / "kubelet"}
    flux = images["ghcr.io/controlplaneio-fluxcd/flux-operator:v0.58.1"]
    module = tmp_path / "modules" / "github.com/controlplaneio-fluxcd/flux-operator@v0.58.1"
    assert flux.files == {
        "/usr/local/bin/flux-operator": Path("/programs/flux-operator"), "/data/flux": module / "config/data/flux",
        "/data/flux-images/VERSION": module / "config/data/flux-images/VERSION",
        "/etc/os-release": ROOT / "lab" / "os-release", "/etc/ssl/certs/ca-certificates.crt": tmp_path / "bundle",
    }  # fmt: skip
    assert flux.user == "65532:65532"
    for image in images.values():
        first = image.entrypoint[0]
        assert "/" in image.files or first in image.files, f"{image.reference} has no {first}"
    assert builder.images_key(assets) == builder.images_key(assets)


def test_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "building-image.left"
    left.mkdir()
    (left / "file").write_text("")
    (tmp_path / "image-of-another-recipe").mkdir()
    make_builder(tmp_path, [])._clean()
    assert [path.name for path in tmp_path.iterdir()] == ["image-of-another-recipe"]


def test_a_cache_whose_path_is_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    cluster = load(ROOT, "lab")
    assert not [one for one in check_resources(cluster, Path("/tmp")) if "sockets" in one.text]  # noqa: S108 # a short path
    (problem,) = [one for one in check_resources(cluster, deep) if "sockets" in one.text]
    assert problem.remedy == "set XDG_CACHE_HOME to a shorter path"


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[[], LabSettings]:
    """Prepares the lab of the real inventory, its image as if it were built already."""
    lab = Lab(tmp_path)
    lab.cache.mkdir()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (lab.cache / "accelerator.json").write_text(json.dumps({"boot": boot, "kvm": False}))
    workshop = Workshop(ROOT, _Modules(tmp_path / "modules"), _Everything(), [].append, {})  # type: ignore[arg-type]  # as above
    authority = ensure_authority(lab.cache / "ca")
    key = ImageBuilder(lab.cache, workshop)._key(authority.certificate)
    (lab.cache / f"image-{key}").mkdir()
    return lambda: prepare(lab, load(ROOT, "lab"), workshop)


def test_the_inventory_decides_what_the_lab_is(prepared: Callable[[], LabSettings], tmp_path: Path) -> None:
    settings = prepared()
    assert (settings.cluster, settings.network, settings.gateway) == ("lab", "10.25.13.0/24", "10.25.13.1")
    assert settings.endpoint == ("lab-k8s.monosense.io", "10.25.13.11")
    assert (settings.git_host, settings.git_path) == ("github.com", "monosense-io/k8s-gitops")
    assert settings.machines == (MACHINE,)
    assert settings.chart_hosts == ("helm.cilium.io",)
    assert settings.folder == tmp_path / "lab" / "run"
    modules: dict[str, str] = json.loads((settings.folder / MODULES_FILE).read_text())
    assert set(modules) == set(chart_needs(ROOT / "lab" / "charts").modules)
    assert settings.folder.stat().st_mode & 0o777 == 0o700
    assert prepared() == settings


def test_what_an_earlier_lab_left_is_replaced(prepared: Callable[[], LabSettings]) -> None:
    folder = prepared().folder
    (folder / "failure.json").write_text("{}")
    (folder / "machines").mkdir()
    prepared()
    assert not (folder / "failure.json").exists()
    assert not (folder / "machines").exists()


def test_the_folder_of_a_running_lab_is_left_alone(prepared: Callable[[], LabSettings], tmp_path: Path) -> None:
    folder = prepared().folder
    (folder / "control.sock").touch()
    with (tmp_path / "lab" / "lock").open("w") as lock:
        json.dump({"root": "/elsewhere", "cluster": "lab", "since": "noon"}, lock)
        lock.flush()
        assert try_lock(lock)
        prepared()
        assert (folder / "control.sock").exists()
        with pytest.raises(InputError) as refused:
            Lab(tmp_path).check_owner(ROOT, "lab")
        (problem,) = refused.value.problems
        assert problem.text == "it belongs to cluster lab of /elsewhere, since noon"
        assert problem.remedy == "/elsewhere/invoke lab.down"
    Lab(tmp_path).check_owner(ROOT, "lab")


def test_who_only_looks_is_not_taken_for_the_lab(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    with lock.open() as one, lock.open() as two, lock.open() as three:
        assert not is_held(one)
        assert not is_held(two)
        assert try_lock(three)
        assert is_held(one)
        assert not try_lock(two)
