"""What is made ready before a lab starts: settings out of the inventory, images, room, an empty folder."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.commands import Result
from bootstrap.host.errors import InputError
from bootstrap.host.locks import try_lock
from bootstrap.host.objects import dig
from bootstrap.host.programs import Use, names_for
from inventory.loader import load
from rehearsal.certificates import ensure_authority
from rehearsal.charts import chart_needs
from rehearsal.emulator import Host
from rehearsal.image import BootAssets, ImageBuilder
from rehearsal.lab import Lab
from rehearsal.preparation import NICENESS, NICENESS_OF_OTHERS, Workshop, check_resources, prepare, uses_of
from rehearsal.rehearsed import rehearsed
from rehearsal.settings import MODULES_FILE, OVERLAY_FILE, Emulator, LabSettings
from rehearsal.storage import KEPT_SECONDS
from tests.unit.rehearsal.bench import MACHINE, OLD_QEMU, Script

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.commands import Command
    from inventory.model import Cluster

ROOT = Path(__file__).parents[3]
QEMU = Path("/programs/qemu-system-x86_64")


class _Programs(Script):
    """A `go` whose module cache holds every module, and an old QEMU."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def run(self, command: Command) -> Result:
        self.asked.append(command)
        if command.program == QEMU:
            return Result(0, f"QEMU emulator version {OLD_QEMU}\n".encode(), b"", 0.0)
        return Result(0, json.dumps({"Dir": str(self._folder / str(command.arguments[-1]))}).encode(), b"", 0.0)


class _Everything(dict[str, Path]):
    def __missing__(self, name: str) -> Path:
        return Path("/programs") / name


def make_workshop(tmp_path: Path, processors: int = 2) -> Workshop:
    host = Host("ID=ubuntu", "one boot", may_accelerate=False)
    return Workshop(ROOT, _Programs(tmp_path / "modules"), _Everything(), list[str]().append, {}, host, processors)


def test_the_list_of_images_resolves(tmp_path: Path) -> None:
    assets = BootAssets("0", tmp_path / "vmlinuz", tmp_path / "initramfs", tmp_path / "trees", tmp_path / "bundle")
    builder = ImageBuilder(tmp_path, make_workshop(tmp_path))
    installer = "factory.talos.dev/metal-installer/0123:v1.11.5"
    images = {image.reference: image for image in builder.images(assets, installer=installer, uses=tuple(Use))}

    assert images[installer].files == images["ghcr.io/siderolabs/installer:v1.11.5"].files
    assert len(images) == 1 + len(yaml_io.load_file(ROOT / "lab" / "images.yaml")[0])  # type: ignore[arg-type]  # a list
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
    plain = builder.images(assets, installer="ghcr.io/siderolabs/installer:v1.11.5", uses=tuple(Use))
    assert len(plain) == len(images) - 1
    assert builder.images_key(plain) != builder.images_key([*images.values()])


def test_only_a_rehearsal_gets_programs_and_images_that_the_labs_own_tree_has_no_use_for(tmp_path: Path) -> None:
    assets = BootAssets("0", tmp_path / "vmlinuz", tmp_path / "initramfs", tmp_path / "trees", tmp_path / "bundle")
    builder = ImageBuilder(tmp_path, make_workshop(tmp_path))

    def made(cluster: Cluster) -> tuple[set[str], set[str]]:
        uses = uses_of(cluster)
        images = builder.images(assets, installer="ghcr.io/siderolabs/installer:v1.11.5", uses=uses)
        return set(names_for(*uses)), {image.reference.partition(":")[0] for image in images}

    lab_programs, lab_images = made(load(ROOT, "lab"))
    programs, images = made(rehearsed(load(ROOT, "infra")))
    assert programs - lab_programs == {"cert-manager", "external-secrets", "lab-spegel"}
    assert images - lab_images == {
        "quay.io/jetstack/cert-manager-controller", "quay.io/jetstack/cert-manager-cainjector",
        "quay.io/jetstack/cert-manager-webhook", "oci.external-secrets.io/external-secrets/external-secrets",
        "ghcr.io/spegel-org/spegel",
    }  # fmt: skip
    assert lab_programs < programs
    assert lab_images < images


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
    workshop = make_workshop(tmp_path)
    authority = ensure_authority(lab.cache / "ca")
    key = ImageBuilder(lab.cache, workshop)._key(authority.certificate)
    (lab.cache / f"image-{key}").mkdir()
    return lambda: prepare(lab, load(ROOT, "lab"), workshop)


def test_the_inventory_decides_what_the_lab_is(prepared: Callable[[], LabSettings], tmp_path: Path) -> None:
    settings = prepared()
    assert (settings.cluster, settings.network, settings.gateway) == ("lab", "10.25.13.0/24", "10.25.13.1")
    assert settings.endpoint == ("lab-k8s.monosense.io", "10.25.13.11")
    assert (settings.git_host, settings.git_path) == ("github.com", "monosense-io/k8s-gitops")
    assert settings.machines == (replace(MACHINE, address="10.25.13.11", niceness=NICENESS),)
    assert (settings.rehearsal, settings.lacp, settings.mtu) == (False, False, 1500)
    assert settings.emulator == Emulator(QEMU, OLD_QEMU, settings.emulator.accelerator)
    assert settings.emulator.emulates
    assert settings.chart_hosts == chart_needs(ROOT / "lab" / "charts").hosts
    assert settings.folder == tmp_path / "lab" / "run"
    modules: dict[str, str] = json.loads((settings.folder / MODULES_FILE).read_text())
    assert set(modules) == set(chart_needs(ROOT / "lab" / "charts").modules)
    assert settings.folder.stat().st_mode & 0o777 == 0o700
    assert prepared() == settings


@pytest.mark.parametrize(("processors", "nodes", "each"), [(2, 1, 2), (2, 3, 1), (8, 3, 2), (1, 1, 1)])
def test_emulated_machines_have_no_more_processors_than_the_host(
    tmp_path: Path, processors: int, nodes: int, each: int
) -> None:
    workshop, lab = make_workshop(tmp_path, processors), Lab(tmp_path)
    key = ImageBuilder(lab.cache, workshop)._key(ensure_authority(lab.cache / "ca").certificate)
    (lab.cache / f"image-{key}").mkdir()
    settings = prepare(lab, rehearsed(load(ROOT, "infra"), nodes), workshop)
    assert [machine.cpus for machine in settings.machines] == [each] * nodes
    # Where they cannot all run at once, the one that the others wait for comes first.
    others = [machine.niceness for machine in settings.machines if machine.name != "infra-01"]
    assert settings.machines[0].niceness == NICENESS
    assert set(others) <= {NICENESS_OF_OTHERS if processors < nodes else NICENESS}
    overlays = yaml_io.load_file(settings.folder / OVERLAY_FILE)
    discovery = [dig(overlay, "cluster", "discovery") for overlay in overlays if dig(overlay, "cluster")]
    assert [one is not None for one in discovery] == [processors < nodes]


def test_what_an_earlier_lab_left_is_replaced(prepared: Callable[[], LabSettings]) -> None:
    folder = prepared().folder
    (folder / "failure.json").write_text("{}")
    (folder / "machines").mkdir()
    prepared()
    assert not (folder / "failure.json").exists()
    assert not (folder / "machines").exists()


def test_what_no_lab_used_for_long_goes_before_one_starts(prepared: Callable[[], LabSettings], tmp_path: Path) -> None:
    old = tmp_path / "lab" / "registry-of-old"
    old.mkdir()
    os.utime(old, (0, 0))
    settings = prepared()
    assert not old.exists()
    assert settings.kernel.parent.exists()
    # What the lab uses counts as new, however old it is.
    os.utime(settings.kernel.parent, (0, 0))
    prepared()
    assert settings.kernel.parent.stat().st_mtime > KEPT_SECONDS


def test_the_folder_of_a_running_lab_is_left_alone(prepared: Callable[[], LabSettings], tmp_path: Path) -> None:
    folder = prepared().folder
    old = tmp_path / "lab" / "image-of-old"
    old.mkdir()
    os.utime(old, (0, 0))
    (folder / "control.sock").touch()
    with (tmp_path / "lab" / "lock").open("w") as lock:
        json.dump({"root": "/elsewhere", "cluster": "lab", "since": "noon"}, lock)
        lock.flush()
        assert try_lock(lock)
        prepared()
        assert (folder / "control.sock").exists()
        assert old.exists()
        with pytest.raises(InputError) as refused:
            Lab(tmp_path).check_owner(ROOT, "lab")
        (problem,) = refused.value.problems
        assert problem.text == "it belongs to cluster lab of /elsewhere, since noon"
        assert problem.remedy == "/elsewhere/invoke lab.down"
    Lab(tmp_path).check_owner(ROOT, "lab")
