"""Values from every place; each file of fixtures/tree/values is a case, as helm-controller 1.4.3 composes it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.host import yaml_io
from bootstrap.host.objects import Object, mapping, name_of, objects
from gitops.values import Reference, compose, merged

CASES = sorted((Path(__file__).parents[2] / "fixtures" / "tree" / "values").iterdir())

_plain = st.sampled_from([1, "text", [1], [2, 3], None])
_mappings = st.dictionaries(
    st.sampled_from("abc"), _plain | st.dictionaries(st.sampled_from("ab"), _plain, max_size=2), max_size=2
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_values_are_composed_as_helm_controller_does_it(case: Path) -> None:
    said = mapping(yaml_io.load(case.read_bytes(), source=case.name))
    items = {(str(item["kind"]), name_of(item)): item for item in objects(said, "objects")}
    references = [Reference.of(entry, "apps") for entry in objects(said, "valuesFrom")]
    own = mapping(said, "values")
    composed = compose(own, references, lambda kind, name: items.get((kind, name)))
    assert composed.problems == {}
    assert composed.values == mapping(said, "composed")
    assert own == mapping(yaml_io.load(case.read_bytes(), source=case.name), "values")


def test_a_secret_of_the_tree_is_read() -> None:
    item: Object = {"kind": "Secret", "data": {"values.yaml": base64.b64encode(b"a: 1").decode()}}
    composed = compose({}, [Reference.of({"kind": "Secret", "name": "s"}, "apps")], lambda *_: item)
    assert composed.values == {"a": 1}


@given(_mappings, _mappings)
def test_what_lies_over_wins_and_nothing_else_is_lost(under: Object, over: Object) -> None:
    result = merged(under, over)
    assert set(result) == {*under, *over}
    assert merged(result, over) == result
    assert merged({}, over) == over == merged(over, {})
