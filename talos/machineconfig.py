"""Machine configuration, rendered by talosctl itself from the secrets bundle and the cluster's patches.

The patches of a node, each over the ones before: `talos/base.yaml`, `talos/<cluster>/cluster.yaml`,
`talos/<cluster>/<role>/<node>.yaml`, then overlays. Bundle and result travel as memory files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from bootstrap.host import yaml_io
from bootstrap.host.commands import CommandError, MemoryFile
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.secret import Secret
from inventory.model import Role
from talos import agreement, blame, lint, schematic
from talos.documents import locate, parse, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bootstrap.host.commands import Result
    from inventory.model import Cluster, Node
    from talos.client import Talosctl

ResultT = TypeVar("ResultT")

# talosctl applies these to the one type that it is asked for; the general flag would want every patch to fit
# workers and control planes alike, deletions included.
_PATCH_FLAG: Final = {
    Role.CONTROL_PLANE: "--config-patch-control-plane=@",
    Role.WORKER: "--config-patch-worker=@",
}


def patches(root: Path, cluster: Cluster, node: Node, overlays: Sequence[Path] = ()) -> tuple[Path, ...]:
    """The patch files of a node, in the order in which they are applied."""
    folder = root / "talos"
    return (folder / "base.yaml", folder / cluster.name / "cluster.yaml", own_patch(root, cluster, node), *overlays)


def own_patch(root: Path, cluster: Cluster, node: Node) -> Path:
    """The patch that holds what is the node's own."""
    return root / "talos" / cluster.name / node.role.value / f"{node.name}.yaml"


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
            refused, the result does not validate, contradicts the inventory, or is not what the lint lets pass.
        CommandError: talosctl could not be run.
    """
    config = render_valid(talosctl, cluster, node, bundle, root=root, overlays=overlays)
    require_sound(config, cluster, node, root=root, overlays=overlays)
    return config


def render_all(
    talosctl: Talosctl, cluster: Cluster, bundle: Secret, *, root: Path, overlays: Sequence[Path] = ()
) -> dict[str, Secret]:
    """The machine configurations of all nodes that are not absent, by name; see `render`.

    Raises:
        InputError: what is wrong with any of them, all problems at once, or talosctl is of another minor version.
        CommandError: talosctl could not be run.
    """
    nodes = [node for node in cluster.nodes if not node.absent]
    require_minor(talosctl, cluster)
    return together(nodes, lambda node: render(talosctl, cluster, node, bundle, root=root, overlays=overlays))


def together(nodes: Sequence[Node], work: Callable[[Node], ResultT]) -> dict[str, ResultT]:
    """The results of a work for each node, by name.

    Raises:
        InputError: some were refused; each problem once, and those of all nodes.
    """
    results: dict[str, ResultT] = {}
    refusals: list[InputError] = []
    for node in nodes:
        try:
            results[node.name] = work(node)
        except InputError as error:
            refusals.append(error)
    if len(refusals) == 1:
        raise refusals[0]
    if refusals:
        problems = dict.fromkeys(problem for refusal in refusals for problem in refusal.problems)
        facts = tuple(dict.fromkeys(refusal.fact for refusal in refusals))
        fact = facts[0] if len(facts) == 1 else f"{len(refusals)} machine configurations cannot be used"
        raise InputError(fact, tuple(problems), remedy=refusals[0].remedy)
    return results


def require_minor(talosctl: Talosctl, cluster: Cluster) -> None:
    """Refuse a talosctl of another minor version than the cluster's Talos.

    Raises:
        InputError: another minor; what it renders, and how it reads what nodes say, belongs to its own.
        CommandError: talosctl could not be run.
    """
    text = talosctl.offline("version", "--client", "--short").text
    found = re.search(r"\bv?(\d+\.\d+)\.\d+", text)
    wanted = cluster.talos_version
    if found and found[1] == wanted.rpartition(".")[0]:
        return
    said = found[0] if found else text.strip() or "nothing"
    problem = Problem(f"`talosVersion` is {wanted}; talosctl says {said}", cluster.source)
    raise InputError(
        "talosctl is of another minor version than the cluster's Talos",
        (problem,),
        remedy="set talosVersion to the minor of the pinned talosctl, or pin another (tools/README.md)",
    )


def facts(cluster: Cluster, node: Node, root: Path) -> tuple[str, ...]:
    """What a configuration follows from besides bundle and patches: inventory, schematic, our own choices.

    Raises:
        InputError: the schematic cannot be read.
    """
    image = schematic.install_image(root, cluster)
    words = (*_common(cluster, None), *_own(node, image))
    return tuple(word for word in words if isinstance(word, str))


def render_valid(
    talosctl: Talosctl, cluster: Cluster, node: Node, bundle: Secret, *, root: Path, overlays: Sequence[Path] = ()
) -> Secret:
    """The machine configuration of a node, valid for metal and not yet held against the inventory; see `render`."""
    files = patches(root, cluster, node, overlays)
    require_there(files, root)
    words = (*_common(cluster, bundle), *_own(node, schematic.install_image(root, cluster)))

    def generate(patches: Sequence[Path]) -> Result:
        return talosctl.offline(*words, *(f"{_PATCH_FLAG[node.role]}{file}" for file in patches))

    try:
        result = generate(files)
    except CommandError as error:
        raise blame.patch(files, generate, error, bundle, root=root) from None
    config = Secret(result.stdout, f"the machine configuration of {node.name}")
    _validate(talosctl, config, source_of(files[2], root))
    return config


def require_sound(config: Secret, cluster: Cluster, node: Node, *, root: Path, overlays: Sequence[Path] = ()) -> None:
    """Refuse a valid configuration that contradicts the inventory or that an operator would regret.

    Raises:
        InputError: names every difference and finding with its place in the patches.
    """
    found = parse(config)
    findings = (*agreement.differences(found, cluster, node), *lint.findings(found, cluster, node))
    if findings:
        problems = locate(findings, patches(root, cluster, node, overlays), root)
        raise InputError(f"{config.reference} cannot be used", problems)


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
        raise blame.bundle(bundle, error) or error from None
    document = yaml_io.load(result.stdout, source="talosconfig")
    contexts = document.get("contexts") if isinstance(document, dict) else None
    context = contexts.get(cluster.name) if isinstance(contexts, dict) else None
    if not isinstance(context, dict):
        raise CommandError("talosctl made a talosconfig of another form", cause=f"no context `{cluster.name}`")
    context["endpoints"] = [str(node.address) for node in cluster.control_planes]
    context["nodes"] = [str(node.address) for node in cluster.nodes]
    return Secret(yaml_io.dump(document), f"the talosconfig of {cluster.name}")


def _own(node: Node, image: str) -> tuple[str, ...]:
    return (
        f"--output-types={node.role.value}",
        f"--install-image={image}",
        "--install-disk=",  # talosctl's own default would hide that a patch names none
        "--with-docs=false",
        "--with-examples=false",
    )


def _common(cluster: Cluster, bundle: Secret | None) -> tuple[str | MemoryFile, ...]:
    return (
        "gen",
        "config",
        cluster.name,
        cluster.endpoint,
        *((MemoryFile(bundle, "--with-secrets="),) if bundle else ()),
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


def require_there(files: Sequence[Path], root: Path) -> None:
    """Refuse patches that are missing.

    Raises:
        InputError: names all of them.
    """
    missing = tuple(Problem("there is no such file", source_of(file, root)) for file in files if not file.is_file())
    if missing:
        raise InputError("patches of the machine configuration are missing", missing)
