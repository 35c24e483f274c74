"""Machine configurations for a person: rendered and validated from the files alone, references in place of secrets.

A preview holds no secret, so it is kept on disk: while talosctl, patches and inventory are the same, nothing has to
be rendered or validated again. Agreement and lint look at it every time.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.files import write_atomically
from bootstrap.host.secret import Secret
from bootstrap.host.versions import build_of
from talos import machineconfig, throwaway

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from inventory.model import Cluster, Node
    from talos.client import Talosctl

# Of what is kept on disk; another form of it gets another number.
FORM: Final = "1"


@dataclass(frozen=True)
class Previews:
    """The previews of a cluster's machine configurations.

    Attributes:
        program: the file of talosctl, by which another build of it is told.
        talosctl: renders and validates.
        cluster: of the inventory.
        root: the repository with the patches.
        folder: where previews are kept, one file a node; made when there is something to keep.
        overlays: further patches, applied last.
    """

    program: Path
    talosctl: Talosctl
    cluster: Cluster
    root: Path
    folder: Path
    overlays: Sequence[Path] = ()

    def show(self, nodes: Sequence[Node]) -> dict[str, str]:
        """The configurations of nodes by name, as YAML with references in place of secrets.

        Raises:
            InputError: what is wrong with any of them, all problems at once; see `machineconfig.render`.
            CommandError: talosctl could not be run.
        """
        return machineconfig.together(nodes, self._one)

    def _one(self, node: Node) -> str:
        key = self._key(node)
        file = self.folder / f"{self.cluster.name}-{node.name}.yaml"
        kept = file.read_text() if file.is_file() else ""
        text = kept.removeprefix(f"# {key}\n")
        if text == kept:
            text = self._render(node)
            write_atomically(file, f"# {key}\n{text}".encode(), mode=0o600)
        config = Secret(text, f"the machine configuration of {node.name}")
        machineconfig.require_sound(config, self.cluster, node, root=self.root, overlays=self.overlays)
        return text

    def _render(self, node: Node) -> str:
        config = machineconfig.render_valid(
            self.talosctl, self.cluster, node, self._bundle, root=self.root, overlays=self.overlays
        )
        return _masked(config, self._bundle)

    @cached_property
    def _bundle(self) -> Secret:
        """What is rendered with, once talosctl is known to be the right one."""
        machineconfig.require_minor(self.talosctl, self.cluster)
        return throwaway.make(self.cluster.secrets.talos_bundle.text)

    def _key(self, node: Node) -> str:
        """A digest of everything that a preview follows from."""
        parts = [FORM, build_of(self.program)]
        parts += machineconfig.facts(self.cluster, node, self.root)
        files = machineconfig.patches(self.root, self.cluster, node, self.overlays)
        machineconfig.require_there(files, self.root)
        # Takes any bytes: what is no text is for talosctl to refuse.
        parts += [file.read_text(encoding="latin-1") for file in files]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(f"{len(part)} {part}".encode())
        return digest.hexdigest()


def _masked(config: Secret, bundle: Secret) -> str:
    """A configuration with the name of each of the bundle's values in its place."""
    text = config.reveal().decode()
    for path, value in _values(yaml_io.load(bundle.reveal(), source=bundle.reference)):
        name = Secret(b"", f"{bundle.reference} {'.'.join(path)}")
        text = re.sub(f'"?{re.escape(value)}"?', f'"{name}"', text)
    return text


def _values(value: yaml_io.Yaml, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _values(inner, (*path, key))
    elif isinstance(value, str):
        yield path, value
