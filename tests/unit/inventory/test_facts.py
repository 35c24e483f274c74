"""Facts that nobody confirmed: where they are named, and how confirmed ones come into the text."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError
from inventory import loader
from inventory.editing import confirmed
from inventory.facts import DISCOVERABLE, OF_A_CLUSTER, unconfirmed

if TYPE_CHECKING:
    from bootstrap.host.yaml_io import Yaml

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures" / "inventory"
EDITS = sorted((FIXTURES / "editing").glob("*.txt"))
# One more than the facts that a machine can be asked for: its address cannot be.
MARKED_OF_THE_NODE = 6


def repository(folder: Path, case: str) -> Path:
    (folder / "inventory").mkdir()
    shutil.copy(FIXTURES / "accepted" / f"{case}.yaml", folder / "inventory")
    return folder


def test_every_unconfirmed_fact_is_named_where_it_stands(tmp_path: Path) -> None:
    root = repository(tmp_path, "everything-unverified")
    problems = unconfirmed(root, loader.load(root, "everything-unverified"))
    lines = (root / "inventory" / "everything-unverified.yaml").read_text().splitlines()
    assert len(problems) == len(OF_A_CLUSTER) + MARKED_OF_THE_NODE
    for problem in problems:
        name = re.findall(r"`(?:.*\.)?(\w+)` is unverified", problem.text)[0]
        value = lines[problem.line - 1][problem.column - 1 :]
        assert value
        assert name == "pools" or lines[problem.line - 1].strip(" -").startswith(f"{name}: {value}")
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)


def test_what_machines_can_be_asked_for_is_remedied_by_asking_them(tmp_path: Path) -> None:
    root = repository(tmp_path, "everything-unverified")
    problems = unconfirmed(root, loader.load(root, "everything-unverified"))
    asked = {problem.text for problem in problems if problem.remedy.startswith("./invoke talos.discover --cluster ")}
    assert asked == {
        f"`nodes[0].{fact}` is unverified" for fact in ("macs", "links", "driver", "diskSelector", "hardware")
    }
    assert all(problem.remedy for problem in problems)


def test_nothing_is_unconfirmed_where_nothing_is_marked(tmp_path: Path) -> None:
    root = repository(tmp_path, "virtual-ip-and-pools")
    assert unconfirmed(root, loader.load(root, "virtual-ip-and-pools")) == ()


@pytest.mark.parametrize("case", EDITS, ids=lambda case: case.stem)
def test_facts_come_into_the_text(case: Path) -> None:
    before, facts, after = re.split(r"^--- (?:facts|after)\n", case.read_text(), flags=re.MULTILINE)
    values = yaml_io.load(facts, source=case.name)
    assert isinstance(values, dict)
    found = {name: value for name, value in values.items() if isinstance(value, dict)}
    if after.startswith("refused: "):
        with pytest.raises(InputError) as caught:
            confirmed(before, found, source="inventory/x.yaml")
        assert f"refused: {caught.value}\n" == after
    else:
        assert confirmed(before, found, source="inventory/x.yaml") == after


TEXTS = st.one_of(st.sampled_from(["no", "NULL", "1e3", "00:11", "a b", "#x", "[x]", "'", '"', "é", "~"]), st.text())
SELECTORS: st.SearchStrategy[Yaml] = st.dictionaries(
    st.sampled_from(["model", "serial", "type", "size"]), TEXTS, min_size=1
)
FACTS: st.SearchStrategy[dict[str, Yaml]] = st.fixed_dictionaries(
    {},
    optional={
        "macs": st.lists(TEXTS, min_size=1, max_size=3),
        "links": st.lists(TEXTS, min_size=1, max_size=3),
        "driver": TEXTS,
        "disk": TEXTS,
        "diskSelector": SELECTORS,
        "hardware": st.dictionaries(st.sampled_from(["memory", "cpus"]), st.integers(1, 999), min_size=1),
    },
)
NODE = """\
  - name: {name} # who {name} is
    role: controlplane
{ports}    unverified: {marks} # nobody looked at {name}
    address: 10.0.0.1 # where {name} is
"""
PORTS = (
    "    macs: [a, b]\n    driver: x\n    diskSelector: {type: nvme}\n",
    "    macs:\n      - a\n\n      - b\n    links:\n    - c\n    - d\n    driver: 'x'\n",
    "    macs:\n    - a\n    driver: x\n    diskSelector:\n      type: nvme\n      # how large\n      size: 1GB\n",
)


# A busy machine takes its time; the same examples on every one.
@settings(deadline=None, derandomize=True, max_examples=60)
@given(facts=FACTS, ports=st.tuples(*[st.sampled_from(PORTS)] * 2), marks=st.sets(st.sampled_from(DISCOVERABLE)))
def test_an_edit_says_what_it_should_and_touches_nothing_else(
    facts: dict[str, Yaml], ports: tuple[str, str], marks: set[str]
) -> None:
    listed = f"[{', '.join(sorted(marks))}]"
    nodes = [NODE.format(name=name, ports=port, marks=listed) for name, port in zip(("n1", "n2"), ports, strict=True)]
    before = f"# é is two bytes\nnodes:\n{nodes[0]}  # between\n{nodes[1]}"
    after = confirmed(before, {"n1": facts}, source="x")
    document = yaml_io.load(before, source="x")
    edited = yaml_io.load(after, source="x")
    assert isinstance(document, dict)
    assert isinstance(edited, dict)
    assert isinstance(document["nodes"], list)
    assert isinstance(edited["nodes"], list)
    assert edited["nodes"][1:] == document["nodes"][1:]
    node, wanted = edited["nodes"][0], document["nodes"][0]
    assert isinstance(node, dict)
    assert isinstance(wanted, dict)
    left = [mark for mark in sorted(marks) if mark not in facts]
    assert node.get("unverified", []) == left
    assert {**wanted, **facts, "unverified": node.get("unverified")} == {**node, "unverified": node.get("unverified")}
    assert after.endswith(f"  # between\n{nodes[1]}")
    assert after.startswith("# é is two bytes\nnodes:\n  - name: n1 # who n1 is\n    role: controlplane\n")
    assert "    address: 10.0.0.1 # where n1 is\n" in after
