"""Inventories that nobody thought of: whatever stands in a file, it is read or refused with a place, never a crash."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from inventory import loader

if TYPE_CHECKING:
    from bootstrap.host.yaml_io import Yaml
    from inventory.findings import Location

FIXTURES = Path(__file__).parents[2] / "fixtures" / "inventory" / "accepted"
CASE = "neighbours-in-one-network"
OWN = f"inventory/{CASE}.yaml"
OTHER = "inventory/other.yaml"
SETTINGS = f"kubernetes/clusters/{CASE}/cluster-settings.yaml"
TEXTS = {name: (FIXTURES / CASE / name).read_text() for name in (OWN, OTHER, SETTINGS)}
PLACES = [(name, place) for name, text in TEXTS.items() for place in yaml_io.positions(text, source=name)]
WORDS = st.sampled_from(
    [
        "10.20.30.11",
        "10.20.30.0/24",
        "0.0.0.0/0",
        "255.255.255.255",
        "https://[::1",
        "https://k8s:0",
        "prod-02",
        "-",
        "é",
    ]
)
KEYS = st.one_of(st.sampled_from(["name", "address", "start", "macs", "talos", "unverified"]), st.integers(0, 3))
VALUES: st.SearchStrategy[Yaml] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 70000), st.floats(allow_nan=False), WORDS, st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=4,
)


def replaced(document: Yaml, place: Location, value: Yaml) -> Yaml:
    """The document with another value at a place."""
    if not place:
        return value
    first, *rest = place
    if isinstance(document, dict) and isinstance(first, str) and first in document:
        return {**document, first: replaced(document[first], tuple(rest), value)}
    if isinstance(document, list) and isinstance(first, int) and first < len(document):
        return [replaced(each, tuple(rest), value) if i == first else each for i, each in enumerate(document)]
    return document


def problems(texts: dict[str, str]) -> tuple[Problem, ...]:
    """What reading the repository of these texts refuses."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        try:
            loader.load(Path(folder), CASE)
        except InputError as error:
            return error.problems or (Problem("refused without a problem"),)
        return ()


def check(texts: dict[str, str]) -> None:
    """A refusal names a file, and a line of it, for every problem."""
    for problem in problems(texts):
        assert problem.path in texts
        assert problem.line <= texts[problem.path].count("\n") + 1


# A busy machine takes its time; the same examples on every one.
@settings(deadline=None, derandomize=True, max_examples=60)
@given(edits=st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_any_value_at_any_place(edits: list[tuple[tuple[str, Location], Yaml]]) -> None:
    documents = {name: yaml_io.load(text, source=name) for name, text in TEXTS.items()}
    for (name, place), value in edits:
        documents[name] = replaced(documents[name], place, value)
    check({name: yaml_io.dump(document) for name, document in documents.items()})


# A busy machine takes its time; the same examples on every one.
@settings(deadline=None, derandomize=True, max_examples=60)
@given(name=st.sampled_from([OWN, OTHER, SETTINGS]), data=st.data())
def test_any_text_in_place_of_any_other(name: str, data: st.DataObject) -> None:
    text = TEXTS[name]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 8)))
    inserted = data.draw(st.text(alphabet="\t -:{}[]&*!|>%@\"'#,?~az09\n", max_size=4))
    check({**TEXTS, name: text[:start] + inserted + text[end:]})
