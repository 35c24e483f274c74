"""Previews: what the repository's own files give, what is kept on disk, and what makes it be rendered again."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError
from inventory.loader import load, names
from talos import throwaway
from talos.client import Talosctl
from talos.preview import Previews
from tests.unit.talos.recorded import FIXTURES, ROOT, Replay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TREE = FIXTURES / "tree"
INFRA = load(TREE, "infra")
NODE = INFRA.nodes[0]


@pytest.fixture
def previews(talosctl: Talosctl, programs: Callable[[str], Path], tmp_path: Path) -> Previews:
    shutil.copytree(TREE, tmp_path / "root")
    return Previews(programs("talosctl"), talosctl, INFRA, tmp_path / "root", tmp_path / "kept")


def without_talosctl(previews: Previews) -> Previews:
    """The same with a talosctl that answers nothing."""
    return replace(previews, talosctl=Talosctl(previews.program, Replay([])))


@pytest.mark.parametrize("name", names(ROOT))
def test_every_cluster_of_the_repository(name: str, previews: Previews) -> None:
    cluster = load(ROOT, name)
    shown = replace(previews, cluster=cluster, root=ROOT).show(cluster.nodes)
    assert list(shown) == [node.name for node in cluster.nodes]


def test_references_stand_in_place_of_secrets(previews: Previews) -> None:
    text = previews.show([NODE])["infra-01"]
    document, *_ = yaml_io.load_all(text, source="preview")
    assert isinstance(document, dict)
    assert document["machine"]["ca"] == {  # type: ignore[index, call-overload] # a machine configuration
        "crt": "<secret: op://infra/talos-infra/bundle certs.os.crt>",
        "key": "<secret: op://infra/talos-infra/bundle certs.os.key>",
    }
    assert "PRIVATE" not in text
    assert "LS0t" not in text  # base64 of -----
    assert text.count("<secret: op://infra/talos-infra/bundle ") == 14


def test_unchanged_ones_need_no_talosctl(previews: Previews) -> None:
    first = previews.show([NODE])
    assert without_talosctl(previews).show([NODE]) == first
    (kept,) = previews.folder.iterdir()
    assert kept.read_text().endswith(first["infra-01"])
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("file", ["base.yaml", "infra/cluster.yaml", "infra/controlplane/infra-01.yaml"])
def test_a_changed_patch_is_rendered_again(previews: Previews, file: str) -> None:
    previews.show([NODE])
    patch = previews.root / "talos" / file
    patch.write_text(patch.read_text().replace("machine:\n", "machine:\n  sysctls: {vm.overcommit_memory: '1'}\n", 1))
    assert 'vm.overcommit_memory: "1"' in previews.show([NODE])["infra-01"]


def test_a_changed_schematic_gives_another_image(previews: Previews) -> None:
    before = previews.show([NODE])["infra-01"]
    (previews.root / "talos" / "infra" / "schematic.yaml").write_text("customization: {}\n")
    after = previews.show([NODE])["infra-01"]
    assert "image: ghcr.io/siderolabs/installer:v1.11.5" in after
    assert "image: factory.talos.dev/metal-installer/" in before


@pytest.mark.parametrize("file", ["base.yaml", "infra/cluster.yaml", "infra/controlplane/infra-01.yaml"])
def test_a_patch_that_is_gone_is_missed_whatever_is_kept(previews: Previews, file: str) -> None:
    path = previews.root / "talos" / file
    path.write_text("")
    with contextlib.suppress(InputError):
        previews.show([NODE])
    path.unlink()
    with pytest.raises(InputError, match=f"talos/{file}: there is no such file"):
        previews.show([NODE])


def test_a_patch_that_is_no_text_is_for_talosctl_to_refuse(previews: Previews) -> None:
    (previews.root / "talos" / "base.yaml").write_bytes(b"machine: \xff\n")
    with pytest.raises(InputError, match=r"talos/base\.yaml"):
        previews.show([NODE])


def test_another_talosctl_is_asked_again(previews: Previews, tmp_path: Path) -> None:
    previews.show([NODE])
    program = tmp_path / "talosctl"
    program.write_bytes(b"another build")
    with pytest.raises(IndexError):
        without_talosctl(replace(previews, program=program)).show([NODE])


def test_what_is_kept_is_held_against_the_inventory(previews: Previews) -> None:
    previews.show([NODE])
    moved = replace(INFRA, nodes=(replace(NODE, address=IPv4Address("10.25.11.99")),))
    with pytest.raises(InputError, match=r"no interface has the address 10\.25\.11\.99/24"):
        without_talosctl(replace(previews, cluster=moved)).show(moved.nodes)


def test_what_was_refused_is_not_kept(previews: Previews) -> None:
    patch = previews.root / "talos" / "base.yaml"
    patch.write_text("machine: {install: {disk: 5}, nonsense: true}\n")
    for _ in range(2):
        with pytest.raises(InputError):
            previews.show([NODE])
    assert not previews.folder.exists()


def test_the_problems_of_all_nodes_come_at_once(previews: Previews) -> None:
    second = replace(NODE, name="infra-02", address=IPv4Address("10.25.11.12"))
    patches = previews.root / "talos" / "infra" / "controlplane"
    (patches / "infra-02.yaml").write_text((patches / "infra-01.yaml").read_text())
    (patches / "infra-01.yaml").write_text((patches / "infra-01.yaml").read_text().replace("miimon: 100", "miimon: 0"))
    with pytest.raises(InputError) as caught:
        previews.show([NODE, second])
    files = {problem.path for problem in caught.value.problems}
    assert files == {f"talos/infra/controlplane/{name}.yaml" for name in ("infra-01", "infra-02")}


def test_talosctl_of_another_minor_is_refused(previews: Previews) -> None:
    later = replace(previews, cluster=replace(INFRA, talos_version="1.12.0"))
    with pytest.raises(InputError) as caught:
        later.show([NODE])
    assert [str(each) for each in caught.value.problems] == [
        "inventory/infra.yaml: `talosVersion` is 1.12.0; talosctl says v1.11.5"
    ]


def test_no_two_throw_away_bundles_are_alike() -> None:
    assert throwaway.make("x") != throwaway.make("x")
