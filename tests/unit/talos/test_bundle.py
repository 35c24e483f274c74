"""A secrets bundle taken apart: what identifies its cluster, and what is missing."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError
from bootstrap.host.secret import Secret
from talos import bundle

PEM = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nhunter2").decode()
DOCUMENT: dict[str, Any] = {
    "cluster": {"id": "id-of-one-cluster", "secret": "hunter2"},
    "certs": {"os": {"crt": PEM}, "k8s": {"crt": PEM, "key": PEM}},
}


def read(document: Any) -> bundle.Bundle:
    return bundle.read(Secret(yaml_io.dump(document), "op://lab/talos/bundle"))


def test_the_identity_is_of_the_clusters_id_alone_and_does_not_show_it() -> None:
    other, renewed = copy.deepcopy(DOCUMENT), copy.deepcopy(DOCUMENT)
    other["cluster"]["id"] = "id-of-another"
    renewed["cluster"]["secret"] = "swordfish"
    found = read(DOCUMENT).identity
    assert found == read(renewed).identity != read(other).identity
    assert "id-of" not in found
    assert len(found) == 16


@pytest.mark.parametrize("path", [("cluster", "id"), ("certs", "os", "crt"), ("certs", "k8s", "key")])
def test_every_missing_part_is_named_without_a_value(path: tuple[str, ...]) -> None:
    document = copy.deepcopy(DOCUMENT)
    place = document
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    with pytest.raises(InputError) as refused:
        read(document)
    assert [problem.text for problem in refused.value.problems] == [f"`{'.'.join(path)}` is missing"]
    assert "hunter2" not in str(refused.value)
