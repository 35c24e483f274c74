"""What the kubelet says about the containers of a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kube.pods import container_statuses, last_end

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from bootstrap.host.yaml_io import Yaml


@pytest.mark.parametrize(
    ("terminated", "told"),
    [
        (
            {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-11-22T12:00:00Z"},
            "app: OOMKilled, exit code 137, at 2026-11-22T12:00:00Z",
        ),
        ({"exitCode": 0, "finishedAt": "later"}, "app: ended, exit code 0, at later"),
        ({}, ""),
    ],
)
def test_how_a_container_ended_last(terminated: Object, told: str) -> None:
    last: Yaml = {"terminated": terminated} if terminated else {}
    assert last_end({"name": "app", "restartCount": 1, "lastState": last}) == told


def test_those_that_initialise_come_first() -> None:
    status: Yaml = {"containerStatuses": [{"name": "app"}], "initContainerStatuses": [{"name": "config"}]}
    assert [one["name"] for one in container_statuses({"status": status})] == ["config", "app"]
    assert container_statuses({"status": {}}) == []
