"""What the real programs say about the lab's files; `record.py` keeps it in `recorded/`."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.host.objects import mapping
from bootstrap.host.yaml_io import load

if TYPE_CHECKING:
    from bootstrap.host.yaml_io import Yaml
    from gitops.build import Kustomize
    from gitops.tree import Tree
    from talos.client import Talosctl

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "recorded"
# What the releases follow from besides the tree.
_CHARTS = ("bootstrap/helmfile.d", "lab/charts")
DIGEST = "charts.sha256"


class Recordings:
    """The folder `recorded/`; every text is read once a process."""

    def write(self, name: str, content: str) -> None:
        """Replace one."""
        (FOLDER / name).write_text(content)

    def text(self, name: str) -> str:
        """One as text."""
        return _text(name)

    def has(self, name: str) -> bool:
        """Whether there is one of that name."""
        return (FOLDER / name).exists()

    def json(self, name: str) -> Any:
        """One as JSON, the caller's own copy."""
        return json.loads(_text(name))


def build_name(path: str) -> str:
    """The file that holds `kustomize build` of a folder of the repository."""
    return f"build-{path.strip('./').replace('/', '-')}.yaml"


def machine_name(node: str) -> str:
    """The file that holds the configuration of a node."""
    return f"machine-{node}.yaml"


def of_the_tree(tree: Tree, kustomize: Kustomize) -> dict[str, str]:
    """What kustomize builds of each path, and what that is after Flux' substitution; texts by file."""
    built = {one.path: kustomize.build(ROOT, one.path, mapping(one.item, "spec")) for one in tree.kustomizations}
    found = {build_name(path): "---\n".join(documents) for path, documents in built.items()}
    every = [{"item": one.item, "objects": list(one.objects)} for one in tree.kustomizations]
    return {**found, "tree.json": json.dumps(every, indent=1)}


def of_the_machine(talosctl: Talosctl) -> dict[str, str]:
    """The machine configuration that talosctl renders, the names of secrets in place of their values; by file."""
    from inventory.loader import load as load_inventory
    from talos import bundle
    from talos.machineconfig import render

    secret = bundle.generate(talosctl)
    names = sorted(_leaves(load(secret.reveal(), source="bundle")), key=lambda leaf: -len(leaf[1]))
    found = {}
    for name in ("lab", "infra"):
        inventory = load_inventory(ROOT, name)
        for node in inventory.nodes:
            config = render(talosctl, inventory, node, secret, root=ROOT).reveal().decode()
            for path, value in names:
                config = config.replace(value, f"@{path}@")
            found[machine_name(node.name)] = config
    return found


def charts_digest() -> dict[str, str]:
    """A digest of what helm reads, which takes too long to be asked in every test run; by file."""
    files = sorted(file for name in _CHARTS for file in (ROOT / name).rglob("*") if file.is_file())
    lines = [f"{file.relative_to(ROOT)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files]
    return {DIGEST: "".join(lines)}


@cache
def _text(name: str) -> str:
    return (FOLDER / name).read_text()


def _leaves(value: Yaml, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in _leaves(part, f"{path}.{key}".lstrip("."))]
    return [(path, str(value))]
