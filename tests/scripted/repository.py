"""The repository of a scenario: the files of this one, with secrets from a store and as many machines as are wanted."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from tests.scripted.recordings import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def write_repository(root: Path, cluster: str, store: Path, roles: Sequence[str]) -> None:
    """Write it.

    Args:
        root: where; made here.
        cluster: its only cluster.
        store: folder with the cluster's secrets.
        roles: of the lab's machines; another cluster has its own.
    """
    for name in ("bootstrap/helmfile.d", "kubernetes", f"talos/{cluster}"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("expected-crds.yaml", "probe.yaml", "resources.yaml"):
        shutil.copy(ROOT / "bootstrap" / name, root / "bootstrap")
    shutil.copy(ROOT / "talos" / "base.yaml", root / "talos")
    inventory = (ROOT / "inventory" / f"{cluster}.yaml").read_text()
    for old, new in (
        ("provider: connect", "provider: file"),
        (f"op://{cluster}/talos-{cluster}/bundle", f"file://{store}/bundle.yaml"),
        (f"op://{cluster}/onepassword-connect/token", f"file://{store}/token"),
    ):
        assert old in inventory
        inventory = inventory.replace(old, new)
    # What nobody confirmed is refused for real machines, and nobody has to confirm anything here.
    inventory = re.sub(r" *unverified: \[.*\]\n", "", inventory)
    if cluster == "lab":
        inventory += _others(root / "talos" / "lab", inventory[inventory.index("  - name: lab-01") :], roles)
    (root / "inventory").mkdir()
    (root / "inventory" / f"{cluster}.yaml").write_text(inventory)


def call_absent(root: Path, name: str) -> None:
    """Let the lab's inventory call a machine absent."""
    file = root / "inventory" / "lab.yaml"
    content, entry = file.read_text(), f"  - name: {name}\n"
    assert entry in content
    file.write_text(content.replace(entry, f"{entry}    absent: true\n"))


def renamed(content: str, names: Sequence[tuple[str, str]]) -> str:
    """A text with some words in place of others."""
    for old, new in names:
        content = content.replace(old, new)
    return content


def _others(patches: Path, first: str, roles: Sequence[str]) -> str:
    """The lab's further machines, made from its first."""
    found = ""
    for number, role in enumerate(roles[1:], start=2):
        names = (("lab-01", f"lab-0{number}"), ("13.11", f"13.1{number}"), (":11", f":1{number}"))
        found += renamed(first, (*names, ("role: controlplane", f"role: {role}")))
        (patches / role).mkdir(exist_ok=True)
        patch = renamed((patches / "controlplane" / "lab-01.yaml").read_text(), names)
        (patches / role / f"lab-0{number}.yaml").write_text(patch)
    return found
