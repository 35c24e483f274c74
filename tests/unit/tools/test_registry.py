"""The registry against the recipes: what is pinned here is what go.mod requires."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from bootstrap.host.programs import PROGRAMS, Program, Use, names_for

ROOT = Path(__file__).parents[3]
OURS = "firstlight.dev/"


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
def test_the_recipe_requires_the_pinned_version(program: Program) -> None:
    recipe = (ROOT / program.recipe / "go.mod").read_text()
    assert recipe.startswith(f"module firstlight.dev/{program.recipe}\n")
    if program.package.startswith(OURS):
        return
    required = dict(re.findall(r"^(?:require)?\s+(\S+) (v\S+)", recipe, re.MULTILINE))
    module = max((name for name in required if f"{program.package}/".startswith(f"{name}/")), key=len)
    assert required[module] == f"v{program.version}"
    assert (ROOT / program.recipe / "go.sum").exists()


def test_programs_of_one_recipe_stand_together() -> None:
    recipes = [program.recipe for program in PROGRAMS.values()]
    changes = sum(before != after for before, after in itertools.pairwise(recipes))
    assert changes == len(set(recipes)) - 1


def test_names_are_given_by_use() -> None:
    assert set(names_for(Use.OPERATOR)) == {
        "talosctl", "helm", "helmfile", "yq", "kubectl", "kustomize", "kubeconform",
    }  # fmt: skip
    assert names_for() == tuple(PROGRAMS)
    assert names_for(Use.LAB, Use.OPERATOR)[-1] == "lab-discovery"
