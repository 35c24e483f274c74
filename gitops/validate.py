"""Is everything that Flux would apply what the API takes? kubeconform's word, on the built and substituted tree."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command
from bootstrap.host.objects import Object, mapping, name_of, objects, text
from gitops import origins, schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bootstrap.host.commands import CommandRunner
    from bootstrap.host.errors import Problem
    from gitops.tree import Kustomization, Tree

# The first of the names that kubeconform lists.
_UNKNOWN: Final = re.compile("additional properties '([^']+)'")
# Some hundred objects take a second; the first compile of a large schema is what takes time.
_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Validation:
    """What kubeconform said.

    Attributes:
        checked: how many objects it looked at.
        problems: what it refused, with file and line where the object was found.
    """

    checked: int
    problems: tuple[Problem, ...]

    @property
    def holds(self) -> bool:
        """Whether every object is valid; nothing checked proves nothing."""
        return self.checked > 0 and not self.problems

    @property
    def seen(self) -> str:
        """One line."""
        if self.problems:
            return f"{len(self.problems)} problems in {self.checked} objects; first: {self.problems[0]}"
        return f"{self.checked} objects valid"


def validate(
    tree: Tree,
    *,
    runner: CommandRunner,
    kubeconform: Path,
    openapi: Callable[[frozenset[str]], Object],
    definitions: Sequence[Object],
) -> Validation:
    """Check every object of every Kustomization; a kind without a schema is a problem.

    Args:
        tree: as `gitops.loader.load` gives it, which has shown that every path builds.
        runner: starts kubeconform.
        kubeconform: its program.
        openapi: gives the OpenAPI v3 schemas of Kubernetes' own kinds in so many API versions, by name.
        definitions: the CustomResourceDefinitions that the cluster has or will have.

    Raises:
        CommandError: kubeconform could not do its work.
    """
    items = list(tree.objects())
    with tempfile.TemporaryDirectory(prefix="firstlight-") as temporary:
        folder = Path(temporary)
        kinds = {(text(item, "apiVersion"), text(item, "kind")) for _, item in items}
        own = openapi(schemas.own_versions(kinds, definitions))
        schemas.write(folder / "schemas", kinds, openapi=own, definitions=definitions)
        (folder / "objects").mkdir()
        for index, (_, item) in enumerate(items):
            (folder / "objects" / f"{index}.json").write_text(json.dumps(item))
        command = Command(
            program=kubeconform,
            arguments=(
                "-strict",
                "-output=json",
                "-schema-location",
                f"{folder}/schemas/{schemas.FILE_TEMPLATE}",
                str(folder / "objects"),
            ),
            timeout=_SECONDS,
            allowed=frozenset({0, 1}),
        )
        answer = runner.run(command)
    resources = objects(mapping(json.loads(answer.stdout)), "resources")
    problems = [problem for resource in resources for problem in _problems(tree, items, resource)]
    return Validation(len(items), tuple(problems))


def _problems(tree: Tree, items: Sequence[tuple[Kustomization, Object]], resource: Object) -> list[Problem]:
    kustomization, item = items[int(Path(text(resource, "filename")).stem)]
    what = f"{item.get('kind')} {name_of(item)}"
    found = objects(resource, "validationErrors") or [{"path": "", "msg": text(resource, "msg")}]
    return [
        origins.problem(
            f"{what}: {text(error, 'path').replace('/', '.').lstrip('.')}: {text(error, 'msg')}".replace(": : ", ": "),
            root=tree.root, folder=kustomization.path, item=item, at=_place(text(error, "path"), text(error, "msg")),
        )
        for error in found
    ]  # fmt: skip


def _place(pointer: str, message: str) -> tuple[str | int, ...]:
    """The path of the field that an error is about; of an unknown one, the field itself."""
    parts = [part for part in pointer.split("/") if part]
    unknown = _UNKNOWN.search(message)
    if unknown:
        parts.append(unknown[1])
    return tuple(int(part) if part.isdigit() else part for part in parts)
