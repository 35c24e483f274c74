"""What is compared where charts may render at random: the chart that was pulled, and the values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kube.helm import differing, helm_environment, pulled_digest

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.yaml_io import Yaml


def pull(folder: Path, *, oci: bool, content: str = "a: 1\n") -> Path:
    """What helmfile leaves of the chart demo 1.2.3."""
    helm_environment(folder)
    if oci:
        chart = folder / "helmfile" / "oci__ghcr_io" / "demo" / "1.2.3" / "demo"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("name: demo\n")
        (chart / "templates" / "a.yaml").write_text(content)
    else:
        (folder / "cache" / "repository").mkdir()
        (folder / "cache" / "repository" / "demo-1.2.3.tgz").write_text(content)
    return folder


@pytest.mark.parametrize("oci", [True, False])
def test_the_same_chart_has_the_same_digest(tmp_path: Path, *, oci: bool) -> None:
    chart = "oci://ghcr.io/demo" if oci else "demo"
    first, second = (pulled_digest(pull(tmp_path / name, oci=oci), chart, "1.2.3") for name in "ab")
    other = pulled_digest(pull(tmp_path / "c", oci=oci, content="a: 2\n"), chart, "1.2.3")
    assert first == second != other
    assert len(first) == len(other) == 12
    assert not pulled_digest(tmp_path / "a", chart, "1.2.4")
    assert not pulled_digest(tmp_path / "a", "other", "1.2.3")


@pytest.mark.parametrize(
    ("found", "wanted", "places"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": {"b": "secret", "c": 2}}, {"a": {"b": "other", "c": 2}}, ["a.b"]),
        ({"a": [1]}, {"a": [1, 2], "d": {}}, ["a", "d"]),
        ({}, {}, []),
        ({"a": {"b": 1}}, {"a": 1}, ["a"]),
    ],
)
def test_values_differ_at_places_whose_content_is_not_shown(found: Yaml, wanted: Yaml, places: list[str]) -> None:
    assert differing(found, wanted) == places
