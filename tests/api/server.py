"""A native etcd and kube-apiserver on loopback, for as long as somebody wants them."""

from __future__ import annotations

import json
import os
import socket
import subprocess  # noqa: TID251 # servers that outlive a call are no business of the tool's command runner
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.host.secret import Secret
from kube.lightkube_cluster import LightkubeCluster
from tests.api import pki

if TYPE_CHECKING:
    from collections.abc import Iterator

# Etcd and the API server are ready after 3 s on an idle machine with two cores; a loaded one gets ten times that.
READY_SECONDS = 60


@dataclass(frozen=True)
class ApiServer:
    """A running API server.

    Attributes:
        server: its URL.
        authority: its CA.
        client: of an administrator.
        kubeconfig: of the same.
        kubeconfig_path: a file with it.
        audit_log: what it was asked, a JSON document a line.
        processes: process ids of etcd and of itself.
    """

    server: str
    authority: pki.Pair
    client: pki.Pair
    kubeconfig: Secret
    kubeconfig_path: Path
    audit_log: Path
    processes: tuple[int, ...]

    def processor_seconds(self) -> float:
        """The processor time that etcd and the API server have used."""
        # proc(5): user and system time are the 14th and 15th field; the second may hold anything but a parenthesis.
        fields = (Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in self.processes)
        return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")

    def writes(self, user_agent: str = "") -> list[str]:
        """Verb and path of every request that could have changed something, by its user agent's beginning."""
        events = (json.loads(line) for line in self.audit_log.read_text().splitlines())
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in events
            if event["verb"] not in {"get", "list", "watch"} and event.get("userAgent", "").startswith(user_agent)
        ]


class NotReadyError(Exception):
    """The API server ended, or did not become ready in time."""


@contextmanager
def running(folder: Path, etcd: Path, apiserver: Path) -> Iterator[ApiServer]:
    """A ready API server while open, with all its files in a folder.

    Raises:
        NotReadyError: with the end of its log.
    """
    client_port, peer_port, port = free_ports(3)
    server = f"https://127.0.0.1:{port}"
    authority = _write_certificates(folder)
    client = pki.issue("tester", group="system:masters", authority=authority)
    kubeconfig = pki.kubeconfig(server, authority, client)
    path = folder / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(kubeconfig)
    processes = [
        _start(folder, "etcd", [str(etcd), *_etcd_flags(folder, client_port, peer_port)]),
        _start(folder, "kube-apiserver", [str(apiserver), *_apiserver_flags(folder, client_port, port)]),
    ]
    found = ApiServer(
        server, authority, client, Secret(kubeconfig, "test kubeconfig"), path, folder / "audit.log",
        tuple(process.pid for process in processes),
    )  # fmt: skip
    try:
        _await_ready(found, processes, folder)
        yield found
    finally:
        for process in processes:
            process.kill()  # the API server takes a minute to end on SIGTERM
            process.wait()


def _write_certificates(folder: Path) -> pki.Pair:
    authority = pki.issue("kubernetes")
    authority.write(folder, "ca")
    pki.issue("kube-apiserver", authority=authority, addresses=("127.0.0.1",)).write(folder, "apiserver")
    (folder / "sa.key").write_bytes(pki.service_account_key())
    (folder / "audit.yaml").write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"
    )
    return authority


def _etcd_flags(folder: Path, client_port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return [
        "--name=n1", f"--data-dir={folder}/etcd", f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=n1={peer}", "--unsafe-no-fsync",
        "--log-level=warn",
    ]  # fmt: skip


def _apiserver_flags(folder: Path, etcd_port: int, port: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd_port}", "--bind-address=127.0.0.1", f"--secure-port={port}",
        # The kubernetes Service refuses a loopback address; nothing here connects to it.
        "--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none",
        f"--client-ca-file={folder}/ca.crt", f"--tls-cert-file={folder}/apiserver.crt",
        f"--tls-private-key-file={folder}/apiserver.key", "--authorization-mode=RBAC",
        f"--service-account-issuer=https://127.0.0.1:{port}", f"--service-account-key-file={folder}/sa.key",
        f"--service-account-signing-key-file={folder}/sa.key", "--service-cluster-ip-range=10.253.0.0/16",
        f"--audit-policy-file={folder}/audit.yaml", f"--audit-log-path={folder}/audit.log",
        # Without controllers no namespace has a ServiceAccount.
        "--disable-admission-plugins=ServiceAccount", "--profiling=false",
        # As Talos starts it; Cilium's pods are privileged.
        "--allow-privileged=true",
        # Nothing carries packets to a Service here, so its endpoints are looked up.
        "--enable-aggregator-routing=true",
    ]  # fmt: skip


def _start(folder: Path, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


def _await_ready(running: ApiServer, processes: list[subprocess.Popen[bytes]], folder: Path) -> None:
    cluster = LightkubeCluster.connect(running.kubeconfig)
    deadline = time.monotonic() + READY_SECONDS
    seen = cluster.ready()
    while not seen.holds:
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            log = (folder / "kube-apiserver.log").read_text()[-2000:]
            raise NotReadyError(f"{seen.seen}\n{log}")
        time.sleep(0.05)
        seen = cluster.ready()
    cluster.close()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, none twice."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
