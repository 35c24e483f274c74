"""The typed calls, on answers of real nodes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bootstrap.host.secret import Secret
from talos.client import Talosctl
from talos.errors import Kind, TalosError
from talos.resources import Condition, Disk, EtcdMember, Link, MachineStatus, ServiceState
from tests.unit.talos.recorded import Replay

Replaying = Callable[[str], tuple[Talosctl, Replay]]
NODE = "10.5.0.11"
CONFIG = Secret("planted-talosconfig", "the talosconfig")


def words(runner: Replay) -> str:
    return " ".join(each if isinstance(each, str) else f"{each.prefix}FILE" for each in runner.asked[-1].arguments)


def test_version(replay: Replaying) -> None:
    talosctl, runner = replay("09-running-version-short")
    assert talosctl.version(NODE, CONFIG) == "1.11.5"
    assert words(runner) == ("version --short --talosconfig=FILE --endpoints=10.5.0.11 --nodes=10.5.0.11")
    assert runner.secrets == [b"planted-talosconfig"]
    assert "planted" not in str(runner.asked[0])


def test_apply_insecure(replay: Replaying) -> None:
    talosctl, runner = replay("04-apply-insecure-install")
    talosctl.apply_insecure(NODE, Secret("planted-config", "the configuration"))
    assert words(runner) == "apply-config --file=FILE --insecure --nodes=10.5.0.11"


def test_bootstrap(replay: Replaying) -> None:
    talosctl, runner = replay("06-bootstrap")
    talosctl.bootstrap(NODE, CONFIG)
    assert words(runner).startswith("bootstrap --talosconfig=FILE")


def test_kubeconfig_goes_to_standard_output(replay: Replaying) -> None:
    talosctl, runner = replay("10-read")
    assert talosctl.kubeconfig(NODE, CONFIG).reveal().startswith(b"NAME=")
    assert words(runner).startswith("kubeconfig --merge=false - ")


def test_services(replay: Replaying) -> None:
    talosctl, _ = replay("05-before-bootstrap-early-service")
    services = talosctl.services(NODE, CONFIG)
    assert list(services) == [
        "apid", "auditd", "containerd", "cri", "etcd", "kubelet", "machined", "syslogd", "trustd", "udevd",
    ]  # fmt: skip
    assert services["etcd"] == ServiceState(
        "etcd", "Waiting", healthy=None, event='Waiting for service "cri" to be "up", time sync'
    )
    assert services["cri"].healthy is False
    assert services["cri"].event.endswith("while waiting for connections to become ready")
    assert services["udevd"].healthy is True


def test_restart_of_a_service(replay: Replaying) -> None:
    talosctl, runner = replay("06-bootstrap")
    talosctl.restart(NODE, CONFIG, "kubelet")
    assert words(runner).startswith("service kubelet restart --talosconfig=FILE")


def test_etcd_members(replay: Replaying) -> None:
    talosctl, _ = replay("06-bootstrapping-etcd-members")
    member = EtcdMember(
        id="dd6725e3112e133a",
        hostname="cp1",
        peer_urls=("https://10.5.0.11:2380",),
        client_urls=("https://10.5.0.11:2379",),
        learner=False,
    )
    assert talosctl.etcd_members(NODE, CONFIG) == (member,)


def test_machine_status(replay: Replaying) -> None:
    talosctl, runner = replay("09-running-get-machinestatus-json")
    unmet = Condition("nodeReady", 'node "cp1" is not ready')
    assert talosctl.machine_status(NODE, CONFIG) == MachineStatus("running", ready=False, unmet=(unmet,))
    assert words(runner).startswith("get machinestatus --output=json ")


def test_disks_in_maintenance_mode(replay: Replaying) -> None:
    talosctl, runner = replay("01-maintenance-get-disks-json")
    (disk,) = (disk for disk in talosctl.disks(NODE, None) if disk.writable)
    links = disk.symlinks
    assert disk == Disk("/dev/vda", 10737418240, "virtio", "", "", writable=True, rotational=True, symlinks=links)
    assert all(link.startswith("/dev/disk/") for link in links)
    assert words(runner) == "get disks --output=json --insecure --nodes=10.5.0.11"


def test_links(replay: Replaying) -> None:
    talosctl, _ = replay("01-maintenance-get-links-json")
    links = {link.name: link for link in talosctl.links(NODE, None)}
    assert sorted(links) == ["bond0", "dummy0", "enp0s2", "lo"]
    mac = "52:54:00:00:00:01"
    assert links["enp0s2"] == Link("enp0s2", "", "virtio_net", mac, mac, up=True, mtu=1500)
    assert links["bond0"].permanent_address == ""


def test_read(replay: Replaying) -> None:
    talosctl, runner = replay("10-read")
    assert b'PRETTY_NAME="Talos (v1.11.5)"' in talosctl.read(NODE, CONFIG, "/etc/os-release")
    assert words(runner).startswith("read /etc/os-release ")


@pytest.mark.parametrize(
    ("recording", "call", "kind"),
    [
        ("01-maintenance-version-short", lambda talosctl: talosctl.version(NODE, CONFIG), Kind.MAINTENANCE),
        ("06-bootstrap-again-at-once", lambda talosctl: talosctl.bootstrap(NODE, CONFIG), Kind.ALREADY_EXISTS),
        ("05-bootstrap-before-time-sync-again", lambda talosctl: talosctl.bootstrap(NODE, CONFIG), Kind.NOT_IN_SYNC),
        ("06-apply-insecure-on-configured", lambda talosctl: talosctl.apply_insecure(NODE, CONFIG),
         Kind.NEEDS_CLIENT_CERTIFICATE),
        ("05-before-bootstrap-etcd-members", lambda talosctl: talosctl.etcd_members(NODE, CONFIG), Kind.TIMED_OUT),
        ("10-read-nosuch", lambda talosctl: talosctl.read(NODE, CONFIG, "/nosuch"), Kind.NOT_FOUND),
        ("04-during-install-get-machinestatus-1", lambda talosctl: talosctl.machine_status(NODE, None), Kind.REFUSED),
        ("10-read", lambda talosctl: talosctl.machine_status(NODE, None), Kind.UNKNOWN),
        ("10-read", lambda talosctl: talosctl.version(NODE, CONFIG), Kind.UNKNOWN),
    ],
)  # fmt: skip
def test_failures_have_a_kind(
    replay: Replaying, recording: str, call: Callable[[Talosctl], object], kind: Kind
) -> None:
    talosctl, runner = replay(recording)
    with pytest.raises(TalosError) as caught:
        call(talosctl)
    assert caught.value.kind is kind
    assert NODE in caught.value.fact
    assert all(0 < command.timeout <= 60 for command in runner.asked)


def test_the_real_program_reads_a_talosconfig_from_memory(talosctl: Talosctl) -> None:
    config = Secret("context: x\ncontexts: {x: {endpoints: [127.0.0.1]}}\n", "a talosconfig")
    with pytest.raises(TalosError) as caught:
        talosctl.version("127.0.0.1", config)
    assert caught.value.kind in {Kind.REFUSED, Kind.UNKNOWN_AUTHORITY}


def test_the_real_program_knows_the_flags(talosctl: Talosctl) -> None:
    flags = {
        ("apply-config",): ("--file", "--insecure", "--nodes"),
        ("kubeconfig",): ("--merge", "--talosconfig", "--endpoints"),
        ("get",): ("--insecure", "--output"),
        ("etcd", "members"): ("--nodes",),
        ("validate",): ("--config", "--mode", "--strict"),
    }
    for command, wanted in flags.items():
        help_text = talosctl.offline(*command, "--help").text
        assert [flag for flag in wanted if flag not in help_text] == []
