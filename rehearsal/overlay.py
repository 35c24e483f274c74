"""What lies over a cluster's own machine configuration in a lab, as one file of patches."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from rehearsal.machine import EMULATED_ARGUMENTS
from rehearsal.wiring import without_ethernets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bootstrap.host.objects import Object
    from bootstrap.host.yaml_io import Yaml
    from inventory.model import Cluster
    from rehearsal.wiring import Wiring

# The patches of every rehearsal, and those of one with a single machine, below the repository.
FILE: Final = "talos/rehearsal.yaml"
ALONE_FILE: Final = "talos/rehearsal-alone.yaml"


def lab_documents(certificate: str, *, emulated: bool, crowded: bool = False) -> list[Yaml]:
    """What the lab's machines need and hardware does not: the lab's CA, and what emulation cannot bear.

    Args:
        certificate: PEM of the CA.
        emulated: whether the processor is emulated.
        crowded: whether more machines are emulated than the host has processors.
    """
    trust: Yaml = {
        "apiVersion": "v1alpha1",
        "kind": "TrustedRootsConfig",
        "name": "firstlight-lab",
        "certificates": certificate,
    }
    if not emulated:
        return [trust]
    # The first processor quota makes the kernel patch its own code, which QEMU's emulation with several
    # threads does not survive (an int3 oops in update_curr). The arguments are those of the first boot.
    machine: dict[str, Yaml] = {
        "kubelet": {"extraConfig": {"cpuCFSQuota": False}},
        "install": {"extraKernelArgs": [*EMULATED_ARGUMENTS]},
    }
    # Talos asks a hundredth of a processor for the scheduler: while the others start, its probes give it up. And both
    # ask the API who may read their metrics before they answer probes; while an emulated API server starts, that
    # takes longer than probes wait, and each restart is translated anew and put off longer.
    # Each renews its lease every two seconds else, which is a quarter of what an idle API server is asked.
    patience: Yaml = {
        "resources": {"requests": {"cpu": "200m"}},
        "extraArgs": {
            "authentication-skip-lookup": "true",
            "leader-elect-lease-duration": "30s",
            "leader-elect-renew-deadline": "20s",
            "leader-elect-retry-period": "5s",
        },
    }
    cluster: dict[str, Yaml] = dict.fromkeys(("controllerManager", "scheduler"), patience)
    if crowded:
        # Control planes that find each other at once also start their API servers at once, over an etcd whose members
        # get too little time to answer each other; those servers give up after a minute and begin anew. Without the
        # service the others wait for the first one's API.
        cluster["discovery"] = {"registries": {"service": {"disabled": True}}}
    return [{"machine": machine, "cluster": cluster}, trust]


def rehearsal_documents(root: Path, cluster: Cluster, wiring: Wiring) -> list[Yaml]:
    """What takes the place of a real cluster's hardware: the patches of `FILE`, and its own `EthernetConfig`s gone.

    Args:
        root: the repository.
        cluster: as it is rehearsed; with a single machine the patches of `ALONE_FILE` count too.
        wiring: of the cluster.

    Raises:
        InputError: a file is missing or no YAML.
    """
    files = (FILE, ALONE_FILE) if len(cluster.nodes) == 1 else (FILE,)
    patches = [document for file in files for document in yaml_io.load_file(root / file, root=root)]
    return [*without_ethernets(wiring), *patches]


def write(path: Path, documents: Sequence[Yaml]) -> None:
    """Write patches as one file, those without a kind as one document: Talos takes no two of them (v1alpha1)."""
    whole: Object = {}
    for document in documents:
        if isinstance(document, dict) and "kind" not in document:
            _merge(whole, document)
    others = [document for document in documents if not isinstance(document, dict) or "kind" in document]
    path.write_text(yaml_io.dump_all([whole, *others] if whole else others))


def _merge(into: Object, document: Object) -> None:
    for key, value in document.items():
        own = into.get(key)
        if isinstance(own, dict) and isinstance(value, dict):
            _merge(own, value)
        else:
            into[key] = copy.deepcopy(value)
