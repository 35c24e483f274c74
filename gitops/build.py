"""`kustomize build` as kustomize-controller does it, by the real kustomize.

What a Flux Kustomization adds to a folder (target namespace, patches, images, components, name affixes, or the
whole kustomization.yaml where there is none) is written into a copy of the folder's tree, as the generator in
github.com/fluxcd/pkg/kustomize v1.23.0 does it; otherwise the folder is built where it is.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.commands import Command, CommandError
from bootstrap.host.objects import Object, flag, mapping, objects, sequence, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.commands import CommandRunner
    from bootstrap.host.yaml_io import Yaml

KUSTOMIZATION_FILES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_MUTATIONS: Final = ("targetNamespace", "namePrefix", "nameSuffix", "patches", "images", "components")
_SEPARATOR: Final = re.compile(r"^---$\n?", re.MULTILINE)
# A folder of manifests builds in a tenth of a second; remote bases, which take longer, are refused by Flux.
_BUILD_SECONDS: Final = 60.0


class BuildError(Exception):
    """kustomize refused the folder; says why in its words."""


@dataclass(frozen=True)
class Kustomize:
    """The program and how to run it.

    Attributes:
        runner: starts it.
        program: kustomize 5.
    """

    runner: CommandRunner
    program: Path

    def build(self, root: Path, path: str, spec: Object) -> list[str]:
        """The YAML text of each object of a folder, before substitution.

        Args:
            root: the repository.
            path: the folder, relative to it.
            spec: of the Flux Kustomization; what it adds to the folder is applied.

        Raises:
            BuildError: kustomize refused.
        """
        with _staged(root, path, spec) as folder:
            command = Command(
                program=self.program,
                arguments=("build", "--load-restrictor", "LoadRestrictionsNone", str(folder)),
                timeout=_BUILD_SECONDS,
            )
            try:
                built = self.runner.run(command).text
            except CommandError as error:
                raise BuildError(_in_short(error.cause, folder, path)) from None
        return [document for document in _SEPARATOR.split(built) if document.strip()]


def _in_short(said: str, folder: Path, path: str) -> str:
    """Paths below the folder relative to it, others to the repository, copied or not."""
    repository = str(folder).removesuffix(path)
    # Of a configuration that it quotes over several lines, only the last line is kept.
    own = said.removeprefix("Error: ").removeprefix("`: ")
    return own.replace(f"{folder}/", "").replace(str(folder), path).replace(repository, "")


@contextlib.contextmanager
def _staged(root: Path, path: str, spec: Object) -> Iterator[Path]:
    folder = root / path
    here = any((folder / name).is_file() for name in KUSTOMIZATION_FILES)
    if here and not any(spec.get(name) for name in _MUTATIONS):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="firstlight-") as temporary:
        top = Path(path).parts[0]
        shutil.copytree(root / top, Path(temporary) / top, symlinks=True)
        staged = Path(temporary) / path
        _mutate(staged, spec)
        yield staged


def _mutate(folder: Path, spec: Object) -> None:
    file = next((folder / name for name in KUSTOMIZATION_FILES if (folder / name).is_file()), None)
    if file is None:
        file = folder / KUSTOMIZATION_FILES[0]
        content: Object = {"resources": list(_manifests(folder)), "kind": "Kustomization"}
        content["apiVersion"] = "kustomize.config.k8s.io/v1beta1"
    else:
        content = mapping(yaml_io.load(file.read_bytes(), source=file.name))
    for theirs, ours in (("namespace", "targetNamespace"), ("namePrefix",) * 2, ("nameSuffix",) * 2):
        if text(spec, ours):
            content[theirs] = text(spec, ours)
    for name, further in (("patches", sequence(spec, "patches")), ("components", _components(folder, spec))):
        if further:
            content[name] = [*sequence(content, name), *further]
    images = {text(image, "name"): image for image in (*objects(content, "images"), *objects(spec, "images"))}
    if images:
        content["images"] = list(images.values())
    file.write_text(yaml_io.dump(content))


def _components(folder: Path, spec: Object) -> list[Yaml]:
    is_needed = not flag(spec, "ignoreMissingComponents")
    return [one for one in sequence(spec, "components") if is_needed or (folder / str(one)).exists()]


def with_common_metadata(item: Object, spec: Object) -> Object:
    """An object with the labels and annotations that a Flux Kustomization puts on all it applies, over its own."""
    common = mapping(spec, "commonMetadata")
    metadata = dict(mapping(item, "metadata"))
    for name in ("labels", "annotations"):
        if mapping(common, name):
            metadata[name] = {**mapping(metadata, name), **mapping(common, name)}
    return {**item, "metadata": metadata} if common else item


def _manifests(folder: Path) -> Iterator[str]:
    """What the generator makes resources of: folders with a kustomization, and every YAML file elsewhere."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if any((entry / name).is_file() for name in KUSTOMIZATION_FILES):
                yield f"./{entry.name}"
            else:
                yield from (f"./{entry.name}/{below[2:]}" for below in _manifests(entry))
        elif entry.suffix in {".yaml", ".yml"}:
            yield f"./{entry.name}"
