"""helmfile, one release at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.commands import Command
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import objects, sequence, text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from bootstrap.host.commands import CommandRunner, Result

# Rendering pulls the charts first; a registry that needs longer for a few hundred kB is down.
RENDER_SECONDS: Final = 120.0
# We wait by gates of our own, so helm only submits; hooks of a chart run within this.
SYNC_SECONDS: Final = 300.0
# What helm adds to an error about YAML that a chart prints; the error itself, with file and line, stands before it.
HINT: Final = "Use --debug flag"


@dataclass(frozen=True)
class Helmfile:
    """A helmfile of the repository, for one cluster.

    Attributes:
        runner: starts the programs.
        helmfile: its program.
        helm: the program that it drives.
        file: `bootstrap/helmfile.d/...`.
        cluster: the cluster's name, which is the helmfile's environment.
        environment: as `kube.helm.helm_environment` gives it, plus what the file's templates read.
        kubeconfig: the private kubeconfig; None for what needs no cluster.
    """

    runner: CommandRunner
    helmfile: Path
    helm: Path
    file: Path
    cluster: str
    environment: Mapping[str, str] = field(default_factory=dict)
    kubeconfig: Path | None = None

    def template_command(self, release: str = "", *, kube_version: str = "", include_crds: bool = False) -> Command:
        """What renders one release, or all of them.

        Args:
            release: its name; empty means every release.
            kube_version: what charts are to think the cluster is, such as `1.34.1`.
            include_crds: also print the charts' `crds/` folders.
        """
        version = ("--kube-version", kube_version) if kube_version else ()
        crds = ("--include-crds",) if include_crds else ()
        return self._command(release, "template", "--skip-tests", *version, *crds, timeout=RENDER_SECONDS)

    def sync_command(self, release: str) -> Command:
        """What installs or upgrades one release, without those that it needs."""
        return self._command(release, "sync", "--skip-needs", "--hide-notes", timeout=SYNC_SECONDS)

    def template(self, release: str = "", *, kube_version: str = "") -> bytes:
        """The rendered manifests as YAML.

        Raises:
            CommandError: a template, a chart or a value is wrong.
        """
        return self.runner.run(self.template_command(release, kube_version=kube_version)).stdout

    def sync(self, release: str) -> Result:
        """Install or upgrade one release.

        Raises:
            CommandError: helm refused, or a hook failed.
        """
        return self.runner.run(self.sync_command(release))

    def needs(self, charts: Collection[tuple[str, str]] = ()) -> dict[str, tuple[str, ...]]:
        """The releases by name with the names of those that each needs, in the file's order.

        Args:
            charts: namespace and name of releases whose chart the file takes from its values; another one is put
                in their place, because helmfile pulls OCI charts even to print the file.

        Raises:
            CommandError: the file cannot be rendered.
            InputError: a release needs one that the file does not have.
        """
        places = [f"charts.{namespace}.{name}.chart=none/{name}" for namespace, name in sorted(charts)]
        words = [word for place in places for word in ("--state-values-set", place)]
        built = self.runner.run(self._command("", "build", *words, timeout=RENDER_SECONDS)).stdout
        releases = [
            release
            for document in yaml_io.load_all(built, source=self.file.name)
            for release in objects(document, "releases")
        ]
        found = {
            text(release, "name"): tuple(str(need).rpartition("/")[2] for need in sequence(release, "needs"))
            for release in releases
        }
        problems = tuple(
            Problem(f"release {name} needs {need}, which is not in the file", str(self.file))
            for name, needs in found.items()
            for need in needs
            if need not in found
        )
        if problems:
            raise InputError("the order of releases cannot be told", problems)
        return found

    def _command(self, release: str, *words: str, timeout: float) -> Command:
        selector = ("--selector", f"name={release}") if release else ()
        kubeconfig = ("--kubeconfig", str(self.kubeconfig)) if self.kubeconfig else ()
        return Command(
            program=self.helmfile,
            arguments=(*self._flags(), *kubeconfig, *selector, *words),
            environment=self.environment,
            timeout=timeout,
            hint=HINT,
        )

    def _flags(self) -> tuple[str, ...]:
        return (
            *("--file", str(self.file), "--environment", self.cluster, "--helm-binary", str(self.helm)),
            # Not --skip-refresh: with it helmfile 1.1.7 does not even add the HTTP repositories.
            *("--quiet", "--no-color"),
        )
