"""The lab's internet: names and addresses, registry, chart repositories, Git, and 1Password Connect."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command, Daemon, ShCommandRunner
from rehearsal import web
from rehearsal.certificates import Authority, issue_server
from rehearsal.charts import package, sources_digest
from rehearsal.network import dnsmasq_arguments
from rehearsal.registry import Registry, images_from_json
from rehearsal.repository import commit_worktree
from rehearsal.settings import (
    CONNECT_ADDRESS,
    CONNECT_NAMES,
    DISCOVERY_ADDRESS,
    DISCOVERY_NAME,
    IMAGES_FILE,
    MODULES_FILE,
    REGISTRY_ADDRESS,
    REGISTRY_NAMES,
    WEB_ADDRESS,
    Emulator,
    LabSettings,
)
from rehearsal.vault import Vault
from rehearsal.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

# The registry opens its port within a second; thirty are a port that is taken.
REGISTRY_SECONDS: Final = 30.0
CONNECT_ITEM: Final = "onepassword-connect"


class Internet:
    """The servers that machines and commands ask.

    Args:
        settings: of the lab.
        runner: starts servers and runs the programs that fill them.
    """

    def __init__(self, settings: LabSettings, runner: ShCommandRunner) -> None:
        self._settings = settings
        self._runner = runner
        self._vault = Vault(settings.vault)
        self._daemons: list[Daemon] = []
        self._publishing = threading.Lock()
        self._charts: dict[str, list[str]] = {}

    def give_names(self) -> None:
        """Answer DHCP and DNS."""
        self._daemon("dnsmasq", *dnsmasq_arguments(self._settings))

    def open(self, tell: Callable[[str], None]) -> None:
        """Start the servers and fill them.

        Args:
            tell: told what is being done.

        Raises:
            FirstlightError: a server does not start or refuses its content.
        """
        self._serve()
        self._fill_vault()
        self._fill_registry(tell)
        tell("publishing charts and the worktree's commit")
        self.publish()

    def publish(self) -> dict[str, object]:
        """Serve the worktree's charts and its synthetic commit as they are now.

        Returns:
            The commit's id, the charts' names with versions, and a digest of the files that they are made from.
        """
        with self._publishing:
            settings = self._settings
            bare = settings.folder / "git" / f"{settings.git_path}.git"
            commit = commit_worktree(settings.root, bare, settings.git_ref, settings.programs["git"], self._runner)
            # To package and push them takes helm two seconds, and they hardly ever change.
            folders = (settings.root / "lab" / "charts", *([settings.charts] if settings.charts else []))
            sources = " ".join(map(sources_digest, folders))
            if sources not in self._charts:
                self._charts = {sources: self._publish_charts()}
            charts = self._charts[sources]
        return {"commit": commit, "charts": charts, "sources": sources}

    def token(self) -> str:
        """The token of 1Password Connect, new with every lab."""
        return self._vault.field(CONNECT_ITEM, "token")

    def close(self) -> None:
        """End the servers."""
        for daemon in self._daemons:
            daemon.end()

    def _serve(self) -> None:
        settings = self._settings
        authority = Authority(settings.authority_certificate, settings.authority_key)
        names = (*REGISTRY_NAMES, *settings.chart_hosts, settings.git_host, *CONNECT_NAMES, DISCOVERY_NAME)
        pair = (settings.folder / "tls.crt", settings.folder / "tls.key")
        issue_server(authority, names, *pair)
        shutil.copy(settings.authority_certificate, settings.trust)
        self._start_registry(pair)
        if settings.machines:
            self._start_discovery(pair)
        folders = {host: settings.folder / "charts" / host for host in settings.chart_hosts}
        files = web.serve_files(folders)
        git = web.serve_git(settings.folder / "git", settings.programs["git"], self._runner)
        hosts = {**dict.fromkeys(settings.chart_hosts, files), settings.git_host: git}
        web.serve(WEB_ADDRESS, 443, web.by_host(hosts), tls=pair)
        connect = web.serve_connect(self._vault, self.token)
        web.serve(CONNECT_ADDRESS, 80, connect)
        web.serve(CONNECT_ADDRESS, 443, connect, tls=pair)

    def _start_registry(self, pair: tuple[Path, Path]) -> None:
        settings = self._settings
        storage = settings.folder / "registry"
        if settings.registry_base.exists():
            # Blobs never change, so links to the cached ones are enough; tags are replaced, not written to.
            shutil.copytree(settings.registry_base, storage, copy_function=_link_or_copy)
        configuration = {
            "version": 0.1, "log": {"level": "warn"}, "storage": {"filesystem": {"rootdirectory": str(storage)}},
            "http": {"addr": f"{REGISTRY_ADDRESS}:443", "tls": {"certificate": str(pair[0]), "key": str(pair[1])}},
        }  # fmt: skip
        path = settings.folder / "registry.yml"
        path.write_text(json.dumps(configuration))
        self._daemon("registry", "serve", str(path), environment=registry_environment(settings.emulator))

    def _start_discovery(self, pair: tuple[Path, Path]) -> None:
        certificate, key = pair
        self._daemon(
            "lab-discovery",
            f"--address={DISCOVERY_ADDRESS}:443",
            f"--certificate={certificate}",
            f"--key={key}",
        )

    def _fill_vault(self) -> None:
        # `talosctl gen secrets` makes five key pairs: two seconds on a busy machine.
        command = Command(
            self._settings.programs["talosctl"],
            ("gen", "secrets", "--output-file", "/dev/stdout", "--force"),
            timeout=60,
        )
        self._vault.put(f"talos-{self._settings.cluster}", {"bundle": self._runner.run(command).text})
        self._vault.put(CONNECT_ITEM, {"token": secrets.token_urlsafe(48)})

    def _fill_registry(self, tell: Callable[[str], None]) -> None:
        settings = self._settings
        registry = Registry(REGISTRY_NAMES[0], settings.trust, settings.programs["zstd"], self._runner)
        wait_for(registry.answers, REGISTRY_SECONDS, "the lab's registry to answer")
        if settings.registry_base.exists():
            return
        images = images_from_json((settings.folder / IMAGES_FILE).read_text())
        for number, image in enumerate(images, start=1):
            tell(f"pushing image {number} of {len(images)}: {image.reference}")
            registry.push(image)
        made = settings.registry_base.with_name(settings.registry_base.name + ".new")
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(settings.folder / "registry", made, copy_function=_link_or_copy)
        made.rename(settings.registry_base)

    def _publish_charts(self) -> list[str]:
        settings = self._settings
        folder = Path(tempfile.mkdtemp(dir=settings.folder, prefix="charts-"))
        for host in settings.chart_hosts:
            (folder / host).mkdir(parents=True)
        modules: dict[str, str] = json.loads((settings.folder / MODULES_FILE).read_text())
        helm = settings.programs["helm"]
        charts = package(
            settings.root / "lab" / "charts",
            folder / "packaged",
            helm,
            self._runner,
            lambda module, version: Path(modules[f"{module}@{version}"]),
            given=settings.charts,
        )
        environment = {
            "SSL_CERT_FILE": str(settings.trust),
            "HELM_CACHE_HOME": str(folder / "cache"),
            "HELM_CONFIG_HOME": str(folder / "config"),
        }
        for chart in charts:
            if chart.repository.startswith("oci://"):
                # A few kilobytes to the same machine.
                self._runner.run(Command(helm, ("push", str(chart.file), chart.repository), environment, timeout=60))
            else:
                repository = folder / chart.repository.removeprefix("https://").strip("/")
                repository.mkdir(parents=True, exist_ok=True)
                shutil.copy(chart.file, repository)
        for repository in sorted(
            {file.parent for host in settings.chart_hosts for file in (folder / host).rglob("*.tgz")}
        ):
            # Reads a few files.
            self._runner.run(Command(helm, ("repo", "index", str(repository)), environment, timeout=60))
        _swap(settings.folder / "charts", folder)
        return [f"{chart.name} {chart.version}" for chart in charts]

    def _daemon(self, name: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        command = Command(self._settings.programs[name], arguments, environment or {})
        self._daemons.append(self._runner.start(command, log=self._settings.folder / "logs" / f"{name}.log"))


def registry_environment(emulator: Emulator) -> dict[str, str]:
    """The environment of the registry, so that its clients choose a cipher that their processor is quick at.

    Args:
        emulator: runs the machines, which are the clients.
    """
    environment = {"OTEL_TRACES_EXPORTER": "none"}
    # A server without AES instructions makes its clients speak ChaCha20, which an old QEMU decrypts faster than AES.
    return environment if emulator.has_fast_ciphers else {**environment, "GODEBUG": "cpu.aes=off"}


def _swap(link: Path, folder: Path) -> None:
    """Have a link name another folder, in one go: whoever reads meanwhile finds the old one or the new one whole."""
    old = link.resolve() if link.exists() else None
    made = link.with_name(f"{link.name}.new")
    made.symlink_to(folder.name)
    made.replace(link)
    if old:
        shutil.rmtree(old, ignore_errors=True)


def _link_or_copy(source: str, target: str) -> None:
    # Names of tags are rewritten in place by the registry, so only content is shared.
    if "/blobs/" in source:
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    else:
        shutil.copyfile(source, target)
