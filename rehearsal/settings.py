"""What a lab is made of, as one record that the supervisor reads; no secret in it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# RFC 2544's benchmark network stands for the internet: no operator's network uses it.
REGISTRY_ADDRESS = "198.18.0.2"
WEB_ADDRESS = "198.18.0.3"
CONNECT_ADDRESS = "198.18.0.4"
TIME_ADDRESS = "198.18.0.5"
DISCOVERY_ADDRESS = "198.18.0.6"
# Talos asks these until DHCP or a configuration names others; unanswered, they hold up its clock by 20 s at every boot.
FIRST_RESOLVERS = ("1.1.1.1", "8.8.8.8")

REGISTRY_NAMES = (
    "docker.io", "factory.talos.dev", "gcr.io", "ghcr.io", "oci.external-secrets.io", "quay.io",
    "registry-1.docker.io", "registry.k8s.io",
)  # fmt: skip
CONNECT_NAMES = ("opconnect.monosense.dev",)
# Where machines of a cluster hear of each other, unless their configuration says otherwise.
DISCOVERY_NAME = "discovery.talos.dev"

# Of Talos' API, in maintenance mode and afterwards.
TALOS_PORT = 50000

# Files of the lab's folder that whoever starts it and the supervisor share.
SETTINGS_FILE = "settings.json"
IMAGES_FILE = "images.json"
MODULES_FILE = "modules.json"
FAILURE_FILE = "failure.json"
OVERLAY_FILE = "overlay.yaml"
SOCKET_FILE = "control.sock"


# From this version on QEMU computes AES and the carry-less multiplication of GCM by the host's own instructions;
# before, AES-GCM is emulated seven times slower.
FAST_CIPHERS = (8, 2)


@dataclass(frozen=True)
class Emulator:
    """The QEMU that runs the machines.

    Attributes:
        program: its `qemu-system-x86_64`.
        version: as it says it itself, with the packager's; memory that one version saved is for that version only.
        accelerator: its `-accel` value.
    """

    program: Path
    version: str
    accelerator: str

    @property
    def emulates(self) -> bool:
        """Whether the processor is emulated, for lack of acceleration."""
        return self.accelerator.startswith("tcg")

    @property
    def number(self) -> str:
        """The version alone, for example `10.0.2`."""
        return self.version.partition(" ")[0]

    @property
    def has_fast_ciphers(self) -> bool:
        """Whether a machine encrypts by the host's instructions."""
        return not self.emulates or tuple(int(part) for part in re.findall(r"\d+", self.number)[:2]) >= FAST_CIPHERS


@dataclass(frozen=True)
class MachineSettings:
    """One virtual machine.

    Attributes:
        name: the node's name.
        macs: one per network card, in order.
        maintenance_address: what DHCP gives to the first card; without prefix.
        memory: MiB.
        cpus: virtual processors.
        disk: GiB of the disk that Talos is installed to.
        more_disks: GiB of each other disk.
        bus: what the disks are attached to, `virtio` or `sata`; the kernel calls them `vda` or `sda`.
        address: what its machine configuration gives it; without prefix.
        niceness: of its emulator, 0 to 19; the host's processors go to the lowest first.
    """

    name: str
    macs: tuple[str, ...]
    maintenance_address: str
    memory: int
    cpus: int
    disk: int
    more_disks: tuple[int, ...] = ()
    bus: str = "virtio"
    address: str = ""
    niceness: int = 0

    @property
    def disks(self) -> tuple[int, ...]:
        """GiB of every disk, the one that Talos is installed to first."""
        return (self.disk, *self.more_disks)


@dataclass(frozen=True)
class LabSettings:
    """A whole lab.

    Attributes:
        cluster: the cluster of the inventory that lives in it.
        root: the repository with the data.
        folder: where everything that the lab makes at run time lies; removed when it ends.
        network: the bridge's network with prefix, as the inventory gives it.
        gateway: the bridge's own address without prefix; also the DNS server.
        endpoint: the cluster's endpoint name and the address that it resolves to.
        time_names: names of time servers that the lab answers for.
        chart_hosts: names of HTTP chart repositories.
        git_host: the name that serves Git.
        git_path: the repository's path there, without `.git`.
        git_ref: the full ref that the synthetic commit is served at.
        vault: the vault's name in 1Password Connect.
        kernel: kernel of the machines.
        initramfs: initramfs of the machines.
        registry_base: cached registry storage, filled when it is complete.
        images_key: digest of everything that the images are made of.
        authority_certificate: the lab's CA.
        authority_key: its key.
        emulator: the QEMU that runs the machines.
        programs: absolute paths by program name.
        machines: the machines.
        inputs: digest by which a running lab is recognised as the same.
        rehearsal: whether the cluster is a real one, with virtual machines in place of its own.
        lacp: whether the machines' bonds want a partner at the switch.
        mtu: bytes of the largest packet between the machines.
        charts: folder of charts that are published in place of the lab's own; None for none.
    """

    cluster: str
    root: Path
    folder: Path
    network: str
    gateway: str
    endpoint: tuple[str, str]
    time_names: tuple[str, ...]
    chart_hosts: tuple[str, ...]
    git_host: str
    git_path: str
    git_ref: str
    vault: str
    kernel: Path
    initramfs: Path
    registry_base: Path
    images_key: str
    authority_certificate: Path
    authority_key: Path
    emulator: Emulator
    programs: Mapping[str, Path]
    machines: tuple[MachineSettings, ...]
    inputs: str
    rehearsal: bool = False
    lacp: bool = False
    mtu: int = 1500
    charts: Path | None = None

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.folder / SOCKET_FILE

    @property
    def trust(self) -> Path:
        """The file of trusted CAs for programs inside the lab: the lab's own only."""
        return self.folder / "trust.crt"

    def to_json(self) -> str:
        """The record as JSON."""
        return json.dumps(asdict(self), default=str, indent=1, sort_keys=True)


def from_json(text: str) -> LabSettings:
    """The record back from `to_json`."""
    raw: dict[str, Any] = json.loads(text)
    for name in (
        "root",
        "folder",
        "kernel",
        "initramfs",
        "registry_base",
        "authority_certificate",
        "authority_key",
    ):
        raw[name] = Path(raw[name])
    for name in ("time_names", "chart_hosts"):
        raw[name] = tuple(raw[name])
    raw["charts"] = Path(raw["charts"]) if raw.get("charts") else None
    raw["endpoint"] = (raw["endpoint"][0], raw["endpoint"][1])
    raw["emulator"] = Emulator(**{**raw["emulator"], "program": Path(raw["emulator"]["program"])})
    raw["programs"] = {name: Path(path) for name, path in raw["programs"].items()}
    raw["machines"] = tuple(_machine(one) for one in raw["machines"])
    return LabSettings(**raw)


def _machine(raw: Mapping[str, Any]) -> MachineSettings:
    return MachineSettings(**{**raw, "macs": tuple(raw["macs"]), "more_disks": tuple(raw["more_disks"])})
