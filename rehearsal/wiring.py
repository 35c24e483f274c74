"""What a cluster's machine configuration asks of cards and switch: LACP, the largest packet, names of links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.objects import number, objects, text
from talos.machineconfig import patches

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.yaml_io import Yaml
    from inventory.model import Cluster, Node

# Bytes that an Ethernet packet carries where nobody asked for more (IEEE 802.3).
USUAL_MTU: Final = 1500
# The mode of a Linux bond that wants a partner at the switch (IEEE 802.1AX).
LACP_MODE: Final = "802.3ad"
# The kind of Talos' documents about a link's rings.
ETHERNET: Final = "EthernetConfig"


@dataclass(frozen=True)
class Wiring:
    """What the files of a cluster ask of its wiring.

    Attributes:
        lacp: whether a bond wants a partner at the switch.
        mtu: bytes of the largest packet that a link is to carry.
        ethernets: links that an `EthernetConfig` of every node names.
    """

    lacp: bool = False
    mtu: int = USUAL_MTU
    ethernets: tuple[str, ...] = ()


def read_wiring(root: Path, cluster: Cluster) -> Wiring:
    """Read it out of the patches of a cluster's nodes; a patch that is not there asks nothing.

    Args:
        root: the repository.
        cluster: of the inventory.

    Raises:
        InputError: a patch is no YAML.
    """
    nodes = [_documents(root, cluster, node) for node in cluster.nodes]
    links = [link for node in nodes for each in node for link in objects(each, "machine", "network", "interfaces")]
    ethernets = [[text(each, "name") for each in node if text(each, "kind") == ETHERNET] for node in nodes]
    return Wiring(
        lacp=any(text(link, "bond", "mode") == LACP_MODE for link in links),
        mtu=max((number(link, "mtu") for link in links), default=0) or USUAL_MTU,
        ethernets=tuple(name for name in ethernets[0] if all(name in names for names in ethernets)),
    )


def without_ethernets(wiring: Wiring) -> list[Yaml]:
    """The documents that take a cluster's `EthernetConfig`s out again: virtual machines have no such links.

    Talos knows deletion for what is there only; deleting what is not ends `talosctl` in a panic.
    """
    return [{"apiVersion": "v1alpha1", "kind": ETHERNET, "name": name, "$patch": "delete"} for name in wiring.ethernets]


def _documents(root: Path, cluster: Cluster, node: Node) -> list[Yaml]:
    files = [path for path in patches(root, cluster, node) if path.exists()]
    return [document for path in files for document in yaml_io.load_file(path, root=root)]
