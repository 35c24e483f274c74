"""Faults 1 to 3 where requests are real: kill -9 before and after every one that writes."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess  # noqa: TID251 # a program that nobody of the tool waits for any more
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine.lock import OWNER_FILE
from bootstrap.host import yaml_io
from bootstrap.host.objects import Object, mapping, name_of, namespace_of, objects, text
from bootstrap.host.orphans import RUN_VARIABLE
from kube.cluster import CUSTOM_RESOURCE_DEFINITION, LEASE
from kube.lease import Holder
from phases.resources import NAMED as REFERENCE
from phases.resources import RESOURCES, load_resources
from tests.api import bootstrapping
from tests.api.bootstrapping import PATIENCE, ROOT, Order, Point, run
from tests.scripted.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kube.lightkube_cluster import LightkubeCluster
    from tests.api.conftest import ApiServer

# Namespaces that every API server has; what lies in them gets a name of its own instead.
BUILT_IN = {"default", "kube-system", "kube-public"}
# One for each connection, and one that has to wait for a connection.
DEFINITIONS = 5
# What the server makes up anew for each object.
MADE_UP = {"creationTimestamp", "resourceVersion", "uid"}


class Place:
    """A repository of its own whose objects share the API server with those of others, told apart by a tag."""

    def __init__(self, folder: Path, tag: str, api_server: ApiServer, cluster: LightkubeCluster) -> None:
        self.tag = tag
        self._api_server = api_server
        self._cluster = cluster
        self._objects = [*map(self._own, load_resources(ROOT)), *map(self._definition, range(DEFINITIONS))]
        self._order = Order(folder, api_server.kubeconfig_path, tag)
        (folder / "bootstrap").mkdir(parents=True)
        for name, chosen in (
            (RESOURCES, self._objects[:-DEFINITIONS]),
            ("definitions.yaml", self._objects[-DEFINITIONS:]),
        ):
            (folder / name).write_text("---\n".join(map(yaml_io.dump, chosen)))

    def run(self, point: Point = Point.BEFORE, number: int = 0) -> int | None:
        return run(Order(self._order.root, self._order.kubeconfig, self.tag, point, number))

    @property
    def owner(self) -> dict[str, Any]:
        """Who has the lock, or left it behind."""
        return dict(json.loads((self._order.root / ".firstlight" / "lab" / OWNER_FILE).read_text()))

    @property
    def said(self) -> str:
        return (self._order.root / "stderr").read_text()

    def writes(self) -> list[str]:
        return [write for write in self._api_server.writes("firstlight") if self.tag in write]

    def final(self) -> list[Any]:
        """The objects as they are, and who owns which field, without what differs between two of the same."""
        found = [self._live(item) for item in self._objects]
        return [json.loads(json.dumps(item).replace(self.tag, "TAG")) for item in found]

    def lease_is_free(self) -> bool:
        """Given back, or held by one who is known to be dead."""
        held = self._cluster.get(LEASE, f"firstlight-{self.tag}", "kube-system")
        assert held, "nobody ever took the lease"
        holder = Holder.parse(text(held, "spec", "holderIdentity"))
        return holder is None or holder.process.is_surely_dead

    def _live(self, item: Object) -> dict[str, Any]:
        live = self._cluster.get((text(item, "apiVersion"), text(item, "kind")), name_of(item), namespace_of(item))
        assert live, f"{name_of(item)} is not there"
        metadata = {key: value for key, value in mapping(live, "metadata").items() if key not in MADE_UP}
        fields = [
            {key: value for key, value in entry.items() if key != "time"}
            for entry in objects(live, "metadata", "managedFields")
        ]
        is_definition = item["kind"] == CUSTOM_RESOURCE_DEFINITION[1]
        # Its conditions hold the times at which the server accepted it.
        kept = {key: value for key, value in live.items() if not (is_definition and key == "status")}
        return {**kept, "metadata": {**metadata, "managedFields": fields}}

    def _own(self, item: Object) -> Object:
        """An object of the repository with a name of its own, in a namespace of its own where it makes one."""
        metadata = {**mapping(item, "metadata"), "name": f"{name_of(item)}-{self.tag}"}
        if namespace_of(item) and namespace_of(item) not in BUILT_IN:
            metadata["namespace"] = f"{namespace_of(item)}-{self.tag}"
        return {**item, "metadata": metadata}

    def _definition(self, number: int) -> Object:
        plural, group = f"gadget{number}s", f"{self.tag}.sweep.firstlight"
        schema: Object = {"type": "object", "properties": {"spec": {"type": "object"}}}
        version: Object = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        return {
            "apiVersion": CUSTOM_RESOURCE_DEFINITION[0],
            "kind": CUSTOM_RESOURCE_DEFINITION[1],
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {
                "group": group,
                "names": {"kind": f"Gadget{number}", "plural": plural},
                "scope": "Namespaced",
                "versions": [version],
            },
        }


@pytest.fixture
def make(tmp_path: Path, api_server: ApiServer, cluster: LightkubeCluster) -> Callable[[str], Place]:
    """Places by what they are for."""
    return lambda name: Place(tmp_path / name, f"{name}-sweep", api_server, cluster)


def test_the_secrets_that_the_repository_asks_for_are_known_here() -> None:
    asked = itertools.chain.from_iterable(mapping(item, "stringData").values() for item in load_resources(ROOT))
    assert {str(one).removeprefix(REFERENCE) for one in asked} <= set(bootstrapping.NAMED)


@pytest.mark.parametrize("point", Point)
def test_a_run_that_was_killed_at_a_write_is_finished_by_the_next(point: Point, make: Callable[[str], Place]) -> None:
    undisturbed = make(f"{point.name.lower()}-0")
    assert undisturbed.run() == 0, undisturbed.said
    wanted = undisturbed.final()

    def attempt(number: int) -> bool:
        place = make(f"{point.name.lower()}-{number}")
        code = place.run(point, number)
        if code == 0:
            return False
        assert code == -signal.SIGKILL, place.said
        assert place.run() == 0, place.said
        assert place.final() == wanted
        assert place.lease_is_free()
        before = place.writes()
        assert before
        assert place.run() == 0, place.said
        assert place.writes() == before
        return True

    # The lease is taken and given back; in between, each object is written.
    assert sweep(attempt) >= len(wanted) + 2


def test_a_program_that_a_killed_run_left_is_ended_by_the_next_which_says_so(make: Callable[[str], Place]) -> None:
    place = make("orphan")
    assert place.run(Point.BEFORE, 1) == -signal.SIGKILL
    left = subprocess.Popen([shutil.which("sleep") or "sleep", "600"], env={RUN_VARIABLE: place.owner["run"]})
    try:
        assert place.run() == 0, place.said
        assert left.wait(PATIENCE) == -signal.SIGTERM
    finally:
        left.kill()
        left.wait()
    assert f"ended the programs that it had left behind: sleep (pid {left.pid})" in place.said
