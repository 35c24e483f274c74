"""Two machine configurations are compared by meaning, and only places are named."""

from __future__ import annotations

import pytest

from bootstrap.host.secret import Secret
from talos.comparison import MOST_PLACES, differences

MAIN = "machine: {type: controlplane, token: planted-a}\ncluster: {id: x}\n"
ETHERNET = "apiVersion: v1alpha1\nkind: EthernetConfig\nname: p\nrings: {rx: 512}\n"


@pytest.mark.parametrize(
    ("live", "places"),
    [
        (MAIN, ()),
        ("cluster:\n  id: x\nmachine:\n  token: planted-a\n  type: controlplane\n", ()),
        (MAIN.replace("planted-a", "planted-b"), ("machine.token",)),
        ("machine: {type: worker}\n", ("cluster", "machine.token", "machine.type")),
        (f"{MAIN}---\n{ETHERNET}", ("EthernetConfig p",)),
    ],
)
def test_differences(live: str, places: tuple[str, ...]) -> None:
    found = differences(Secret(MAIN, "ours"), Secret(live, "theirs"))
    assert found == places
    assert "planted" not in str(found)


def test_documents_have_no_order() -> None:
    one, other = (Secret("---\n".join(each), "c") for each in ((MAIN, ETHERNET), (ETHERNET, MAIN)))
    assert differences(one, other) == ()


def test_only_a_few_places_are_named() -> None:
    many = "\n".join(f"key{number}: 1" for number in range(2 * MOST_PLACES))
    assert len(differences(Secret(many, "ours"), Secret("{}", "theirs"))) == MOST_PLACES
