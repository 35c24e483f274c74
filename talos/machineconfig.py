"""Machine configuration, rendered by talosctl itself from the secrets bundle and the cluster's patches.

The patches of a node, each over the ones before: `talos/base.yaml`, `talos/<cluster>/cluster.yaml`,
`talos/<cluster>/<role>/<node>.yaml`, then overlays. Bundle and result travel as memory files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.commands import CommandError, MemoryFile
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.secret import Secret
from inventory.model import Role
from talos import agreement, schematic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inventory.model import Cluster, Node
    from talos.client import Talosctl

# talosctl applies these to the one type that it is asked for; the general flag would want every patch to fit
# workers and control planes alike, deletions included.
_PATCH_FLAG: Final = {
    Role.CONTROL_PLANE: "--config-patch-control-plane=@",
    Role.WORKER: "--config-patch-worker=@",
}
# What talosctl puts before the reason.
_PREFIXES: Final = re.compile(
    r"^(?:error parsing config JSON patch: |failed to generate config bundle: |error patching configs: "
    r"|decode error: |error decoding [^:]*: |yaml: |unmarshal errors:\s*)+"
)
_LINE: Final = re.compile(r"\bline (\d+): ")
_UNKNOWN_KEYS: Final = "unknown keys found during decoding:\n"


def patches(root: Path, cluster: Cluster, node: Node, overlays: Sequence[Path] = ()) -> tuple[Path, ...]:
    """The patch files of a node, in the order in which they are applied."""
    folder = root / "talos"
    own = folder / cluster.name / node.role.value / f"{node.name}.yaml"
    return (folder / "base.yaml", folder / cluster.name / "cluster.yaml", own, *overlays)


def render(
    talosctl: Talosctl, cluster: Cluster, node: Node, bundle: Secret, *, root: Path, overlays: Sequence[Path] = ()
) -> Secret:
    """The machine configuration of a node, complete and validated for metal, warnings taken as errors.

    Args:
        talosctl: the program, of the same minor version as the cluster's Talos.
        cluster: of the inventory.
        node: one of its nodes.
        bundle: the secrets bundle as the store holds it.
        root: the repository with the patches.
        overlays: further patches, applied last.

    Raises:
        InputError: a patch is missing or refused (names file and, where talosctl says it, line), the bundle is
            refused, the result does not validate, or it contradicts the inventory.
        CommandError: talosctl could not be run.
    """
    files = patches(root, cluster, node, overlays)
    _require(files, root)
    task = _Task(talosctl, cluster, node, bundle, root, schematic.install_image(root, cluster))
    try:
        result = talosctl.offline(*task.arguments(files))
    except CommandError as error:
        raise _blame(task, files, error) from None
    config = Secret(result.stdout, f"the machine configuration of {node.name}")
    cluster_patch, node_patch = (_source(file, root) for file in files[1:3])
    _validate(talosctl, config, node_patch)
    agreement.require(config, cluster, node, node_patch=node_patch, cluster_patch=cluster_patch)
    return config


def talosconfig(talosctl: Talosctl, cluster: Cluster, bundle: Secret) -> Secret:
    """A talosconfig with one context, named like the cluster, and the nodes' own addresses.

    Every call makes another client certificate, so two of them are never equal.

    Raises:
        InputError: the bundle is refused.
        CommandError: talosctl could not be run.
    """
    try:
        result = talosctl.offline(*_common(cluster, bundle), "--output-types=talosconfig")
    except CommandError as error:
        raise _bundle_refused(bundle, error) or error from None
    document = yaml_io.load(result.stdout, source="talosconfig")
    contexts = document.get("contexts") if isinstance(document, dict) else None
    context = contexts.get(cluster.name) if isinstance(contexts, dict) else None
    if not isinstance(context, dict):
        raise CommandError("talosctl made a talosconfig of another form", cause=f"no context `{cluster.name}`")
    context["endpoints"] = [str(node.address) for node in cluster.control_planes]
    context["nodes"] = [str(node.address) for node in cluster.nodes]
    return Secret(yaml_io.dump(document), f"the talosconfig of {cluster.name}")


@dataclass(frozen=True)
class _Task:
    """One rendering: everything but the patches."""

    talosctl: Talosctl
    cluster: Cluster
    node: Node
    bundle: Secret
    root: Path
    image: str

    def arguments(self, files: Sequence[Path]) -> tuple[str | MemoryFile, ...]:
        role = self.node.role
        return (
            *_common(self.cluster, self.bundle),
            f"--output-types={role.value}",
            f"--install-image={self.image}",
            "--install-disk=",  # talosctl's own default would hide that a patch names none
            "--with-docs=false",
            "--with-examples=false",
            *(f"{_PATCH_FLAG[role]}{file}" for file in files),
        )


def _common(cluster: Cluster, bundle: Secret) -> tuple[str | MemoryFile, ...]:
    return (
        "gen",
        "config",
        cluster.name,
        cluster.endpoint,
        MemoryFile(bundle, "--with-secrets="),
        f"--talos-version=v{cluster.talos_version}",
        f"--kubernetes-version={cluster.kubernetes_version}",
        "--output=-",
    )


def _validate(talosctl: Talosctl, config: Secret, source: str) -> None:
    try:
        talosctl.offline("validate", "--mode=metal", "--strict", MemoryFile(config, "--config="))
    except CommandError as error:
        if error.exit_code_seen is None:
            raise
        items = re.findall(r"^\s*\* (.+)$", error.stderr, re.MULTILINE) or [error.stderr.strip() or error.cause]
        problems = tuple(Problem(item, source) for item in items)
        raise InputError(f"{config.reference} is not valid", problems) from None


def _require(files: Sequence[Path], root: Path) -> None:
    missing = tuple(Problem("there is no such file", _source(file, root)) for file in files if not file.is_file())
    if missing:
        raise InputError("patches of the machine configuration are missing", missing)


def _blame(task: _Task, files: Sequence[Path], error: CommandError) -> Exception:
    """The error that names the file at fault: talosctl itself does not say which patch it refuses."""
    if error.exit_code_seen is None:
        return error
    if refused := _bundle_refused(task.bundle, error):
        return refused
    for count in range(1, len(files) + 1):
        try:
            task.talosctl.offline(*task.arguments(files[:count]))
        except CommandError as found:
            problem = _patch_problem(files[count - 1], task.root, found.stderr)
            return InputError("talosctl refuses a patch of the machine configuration", (problem,))
    return error


def _bundle_refused(bundle: Secret, error: CommandError) -> InputError | None:
    if "secrets bundle" not in error.stderr:
        return None
    items = re.findall(r"^\s*\* (.+)$", error.stderr, re.MULTILINE)
    return InputError(
        f"talosctl refuses the secrets bundle {bundle.reference}",
        tuple(Problem(item) for item in items),
        remedy="store there what `talosctl gen secrets` writes",
    )


def _patch_problem(file: Path, root: Path, text: str) -> Problem:
    source = _source(file, root)
    text = _PREFIXES.sub("", text.strip())
    if text.startswith(_UNKNOWN_KEYS):
        return _unknown_key(file, source, text.removeprefix(_UNKNOWN_KEYS))
    line = _LINE.search(text)
    return Problem(_LINE.sub("", text.splitlines()[0] if text else "refused"), source, int(line[1]) if line else 0)


def _unknown_key(file: Path, source: str, keys: str) -> Problem:
    """The place of unknown keys; talosctl prints them as YAML with all that leads to them."""
    path: tuple[str | int, ...] = ()
    found = yaml_io.load(keys, source=source)
    while isinstance(found, (dict, list)) and len(found) == 1:
        key, found = next(iter(found.items())) if isinstance(found, dict) else (0, found[0])
        path = (*path, key)
    name = ".".join(str(part) for part in path)
    text = f"`{name}` is an unknown key"
    if isinstance(found, dict) and found:
        text = f"`{name}` has unknown keys: {', '.join(found)}"
    content = file.read_bytes()
    for document in range(len(yaml_io.load_all(content, source=source))):
        places = yaml_io.positions(content, source=source, document=document)
        if path in places:
            return Problem(text, source, places[path].line, places[path].column)
    return Problem(text, source)


def _source(file: Path, root: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)
