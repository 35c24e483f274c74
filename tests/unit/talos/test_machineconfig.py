"""Rendering with the real talosctl: the lab as it is, and patches that must be refused by name."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.commands import CommandError
from bootstrap.host.errors import InputError
from bootstrap.host.secret import Secret
from inventory.loader import load
from inventory.model import Cluster, Role
from talos import bundle, machineconfig
from talos.client import Talosctl
from tests.unit.talos.recorded import FIXTURES, ROOT, Recording, Replay

LAB = load(ROOT, "lab")
NODE = LAB.nodes[0]
OWN = "talos/lab/controlplane/lab-01.yaml"


def document(secret: Secret) -> Any:
    return yaml_io.load(secret.reveal(), source="rendered")


@pytest.fixture(scope="module")
def rendered(talosctl: Talosctl, secrets_bundle: Secret) -> Any:
    return document(machineconfig.render(talosctl, LAB, NODE, secrets_bundle, root=ROOT))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "talos" / "lab", tmp_path / "talos" / "lab")
    shutil.copy(ROOT / "talos" / "base.yaml", tmp_path / "talos" / "base.yaml")
    return tmp_path


def refusal(talosctl: Talosctl, secrets: Secret, root: Path, cluster: Cluster = LAB) -> str:
    with pytest.raises(InputError) as caught:
        machineconfig.render(talosctl, cluster, cluster.nodes[0], secrets, root=root)
    return str(caught.value)


def test_what_the_cluster_lacks_is_cni_proxy_and_dns(rendered: Any) -> None:
    cluster = rendered["cluster"]
    assert cluster["network"]["cni"] == {"name": "none"}
    assert cluster["proxy"]["disabled"] is True
    assert cluster["coreDNS"] == {"disabled": True}
    assert cluster["allowSchedulingOnControlPlanes"] is True
    assert "nodeLabels" not in rendered["machine"]


def test_the_node_is_the_inventory_s(rendered: Any) -> None:
    machine = rendered["machine"]
    assert machine["type"] == "controlplane"
    assert machine["network"]["hostname"] == "lab-01"
    assert machine["install"] == {
        "disk": "/dev/vda",
        "image": "ghcr.io/siderolabs/installer:v1.11.5",
        "wipe": False,
    }
    (bond,) = machine["network"]["interfaces"]
    assert bond["addresses"] == ["10.25.13.11/24"]
    assert bond["dhcp"] is False
    assert (bond["bond"]["mode"], bond["bond"]["miimon"]) == ("active-backup", 100)
    assert bond["bond"]["deviceSelectors"] == [{"driver": "virtio_net"}]


def test_versions_and_endpoint(rendered: Any) -> None:
    assert rendered["cluster"]["controlPlane"]["endpoint"] == "https://lab-k8s.monosense.io:6443"
    assert rendered["cluster"]["apiServer"]["image"] == "registry.k8s.io/kube-apiserver:v1.34.1"
    assert rendered["machine"]["kubelet"]["image"] == "ghcr.io/siderolabs/kubelet:v1.34.1"
    assert rendered["machine"]["certSANs"] == ["lab-k8s.monosense.io", "10.25.13.11"]
    assert sorted(rendered["cluster"]["apiServer"]["certSANs"]) == ["10.25.13.11", "lab-k8s.monosense.io"]


def test_kubeprism_layers_and_discovery(rendered: Any) -> None:
    assert rendered["machine"]["features"]["kubePrism"] == {"enabled": True, "port": 7445}
    (file,) = rendered["machine"]["files"]
    assert file["path"] == "/etc/cri/conf.d/20-customization.part"
    assert "discard_unpacked_layers = false" in file["content"]
    assert rendered["cluster"]["discovery"]["registries"]["service"] == {}


def test_every_write_is_in_the_api_server_s_audit_log(rendered: Any) -> None:
    assert rendered["cluster"]["apiServer"]["auditPolicy"]["rules"] == [{"level": "Metadata"}]


def test_talosconfig_has_the_nodes_own_addresses(talosctl: Talosctl, secrets_bundle: Secret) -> None:
    config = document(machineconfig.talosconfig(talosctl, LAB, secrets_bundle))
    assert config["context"] == "lab"
    context = config["contexts"]["lab"]
    assert context["endpoints"] == context["nodes"] == ["10.25.13.11"]
    assert sorted(context) == ["ca", "crt", "endpoints", "key", "nodes"]


def test_an_overlay_is_applied_last(talosctl: Talosctl, secrets_bundle: Secret, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("machine:\n  sysctls:\n    kernel.panic_on_oops: '1'\n")
    config = machineconfig.render(talosctl, LAB, NODE, secrets_bundle, root=ROOT, overlays=(overlay,))
    assert document(config)["machine"]["sysctls"] == {"kernel.panic_on_oops": "1"}


def test_a_worker_gets_the_patches_of_its_folder(talosctl: Talosctl, secrets_bundle: Secret, root: Path) -> None:
    worker = replace(NODE, name="lab-02", role=Role.WORKER, address=IPv4Address("10.25.13.12"))
    folder = root / "talos" / "lab"
    (folder / "worker").mkdir()
    own = (folder / "controlplane" / "lab-01.yaml").read_text()
    (folder / "worker" / "lab-02.yaml").write_text(own.replace("lab-01", "lab-02").replace(".13.11/", ".13.12/"))
    common = (folder / "cluster.yaml").read_text()
    (folder / "cluster.yaml").write_text(re.sub(r"  nodeLabels:.*?(?=cluster:)|  etcd:.*", "", common, flags=re.DOTALL))
    cluster = replace(LAB, nodes=(NODE, worker))
    config = document(machineconfig.render(talosctl, cluster, worker, secrets_bundle, root=root))
    assert config["machine"]["type"] == "worker"
    assert config["machine"]["network"]["hostname"] == "lab-02"


def test_every_missing_patch_is_named_at_once(talosctl: Talosctl, secrets_bundle: Secret, root: Path) -> None:
    (root / OWN).unlink()
    (root / "talos" / "base.yaml").unlink()
    text = refusal(talosctl, secrets_bundle, root)
    assert "talos/base.yaml: there is no such file" in text
    assert f"{OWN}: there is no such file" in text


def test_coredns_at_another_address_than_the_kubelet_is_told(talosctl: Talosctl, secrets_bundle: Secret) -> None:
    networks = replace(LAB.networks, coredns=IPv4Address("10.253.0.53"))
    text = refusal(talosctl, secrets_bundle, ROOT, replace(LAB, networks=networks))
    assert "`machine.kubelet.clusterDNS` is 10.253.0.10, the inventory says 10.253.0.53" in text


def test_another_service_network(talosctl: Talosctl, secrets_bundle: Secret) -> None:
    networks = replace(LAB.networks, services=IPv4Network("10.96.0.0/12"), coredns=IPv4Address("10.96.0.10"))
    text = refusal(talosctl, secrets_bundle, ROOT, replace(LAB, networks=networks))
    assert "`cluster.network.serviceSubnets` is 10.253.0.0/16, the inventory says 10.96.0.0/12" in text


@pytest.mark.parametrize("content", ["cluster: {id: planted-value}\n", "planted", "", "a: [planted\n"])
def test_a_bundle_that_is_none_is_refused_without_its_content(talosctl: Talosctl, content: str) -> None:
    secret = Secret(content, "op://lab/talos-lab/bundle")
    for call in (
        lambda: machineconfig.render(talosctl, LAB, NODE, secret, root=ROOT),
        lambda: machineconfig.talosconfig(talosctl, LAB, secret),
        lambda: bundle.read(secret),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert "op://lab/talos-lab/bundle" in str(caught.value)
        assert "planted" not in f"{caught.value} {caught.value.remedy}"


def test_a_talosctl_that_does_not_answer_is_no_fault_of_the_patches() -> None:
    talosctl = Talosctl(Path("/bin/talosctl"), Replay([Recording(124, "", "")]))
    with pytest.raises(CommandError):
        machineconfig.render(talosctl, LAB, NODE, Secret("x", "x"), root=ROOT)


def test_the_parts_of_a_bundle(secrets_bundle: Secret) -> None:
    parts = bundle.read(secrets_bundle)
    assert parts.machine_authority.startswith(b"-----BEGIN CERTIFICATE-----")
    assert parts.kubernetes_authority.startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE KEY" in parts.kubernetes_key.reveal()
    content = document(secrets_bundle)
    sensitive = {secret.reveal().decode() for secret in parts.sensitive}
    assert content["certs"]["os"]["key"] in sensitive
    assert content["trustdinfo"]["token"] in sensitive
    assert content["certs"]["os"]["crt"] not in sensitive
    assert len(sensitive) == 9


def test_all_nodes_but_the_absent_ones(talosctl: Talosctl, secrets_bundle: Secret) -> None:
    away = replace(NODE, name="lab-02", absent=True)
    configs = machineconfig.render_all(talosctl, replace(LAB, nodes=(NODE, away)), secrets_bundle, root=ROOT)
    assert list(configs) == ["lab-01"]
    assert configs["lab-01"] == machineconfig.render(talosctl, LAB, NODE, secrets_bundle, root=ROOT)


def test_a_rehearsal_may_add_selectors_beside_the_cluster_s_own(
    talosctl: Talosctl, secrets_bundle: Secret, tmp_path: Path
) -> None:
    tree = FIXTURES / "tree"
    infra = load(tree, "infra")
    node = replace(infra.nodes[0], driver="virtio_net")
    added = "".join(f"            - {{driver: virtio_net, permanentAddr: '{mac}'}}\n" for mac in node.macs)
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(
        "machine:\n  network:\n    interfaces:\n      - interface: bond0\n        bond:\n          deviceSelectors:\n"
        f"{added}"
        "---\napiVersion: v1alpha1\nkind: EthernetConfig\nname: enp1s0f0np0\n$patch: delete\n"
        "---\napiVersion: v1alpha1\nkind: EthernetConfig\nname: enp1s0f1np1\n$patch: delete\n"
    )
    rehearsed = replace(infra, nodes=(node,), rehearsal=True)
    config = machineconfig.render(talosctl, rehearsed, node, secrets_bundle, root=tree, overlays=(overlay,))
    assert b"virtio_net" in config.reveal()
    with pytest.raises(InputError, match="matches no port of infra-01"):
        machineconfig.render(
            talosctl, replace(rehearsed, rehearsal=False), node, secrets_bundle, root=tree, overlays=(overlay,)
        )
