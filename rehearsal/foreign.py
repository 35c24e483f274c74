"""A machine of somebody else's: configured, and installed, with the secrets of another cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command, MemoryFile
from bootstrap.host.secret import Secret
from rehearsal.overlay import lab_documents, write
from rehearsal.waiting import wait_for
from talos.probe import State, handshake

if TYPE_CHECKING:
    from bootstrap.host.commands import ShCommandRunner
    from bootstrap.host.yaml_io import Yaml
    from rehearsal.settings import LabSettings, MachineSettings

# Its name, as its own administrators call it.
CLUSTER: Final = "somebody-elses"
# Installation and reboot take 100 s on an emulated machine that has the host for itself; others may boot beside it.
INSTALL_SECONDS: Final = 480.0
# talosctl makes keys and certificates: two seconds on a busy machine.
GENERATE_SECONDS: Final = 60.0


def configure(machine: MachineSettings, lab: LabSettings, runner: ShCommandRunner) -> None:
    """Configure a machine in maintenance mode as the only one of another cluster, and wait until it is.

    It keeps the address that DHCP gives it.

    Args:
        machine: in maintenance mode.
        lab: whose machine it is.
        runner: runs talosctl.

    Raises:
        FirstlightError: the machine does not take the configuration, or does not come back with it.
    """
    talosctl, address = lab.programs["talosctl"], machine.maintenance_address
    generated = ("gen", "secrets", "--output-file=/dev/stdout", "--force")
    bundle = runner.run(Command(talosctl, generated, timeout=GENERATE_SECONDS)).stdout
    patch = lab.folder / "foreign.yaml"
    certificate = lab.authority_certificate.read_text()
    install: Yaml = {"machine": {"install": {"disk": "/dev/vda"}}}
    write(patch, [install, *lab_documents(certificate, emulated=lab.emulator.emulates)])
    arguments = (
        "gen", "config", CLUSTER, f"https://{address}:6443", "--output-types=controlplane", "--output=-",
        f"--config-patch=@{patch}", MemoryFile(Secret(bundle, "the secrets of another cluster"), "--with-secrets="),
    )  # fmt: skip
    config = runner.run(Command(talosctl, arguments, timeout=GENERATE_SECONDS)).stdout
    secret = MemoryFile(Secret(config, "the configuration of another cluster"), "--file=")
    runner.run(Command(talosctl, ("apply-config", "--insecure", f"--nodes={address}", secret), timeout=30))  # kilobytes
    authority = certificate.encode()
    wait_for(
        lambda: handshake(address, authority).state is State.FOREIGN, INSTALL_SECONDS,
        f"{machine.name} to answer as a machine of another cluster",
    )  # fmt: skip
