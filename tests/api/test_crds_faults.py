"""Faults 43 and 45 to 47: the phase `crds` against a real API server, with generated definitions of real sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from bench.definitions import compact, definition, definitions
from bootstrap.engine import Done, Phase, Step
from bootstrap.engine.testing import run_phases
from bootstrap.host.clock import SystemClock
from bootstrap.host.errors import ExitCode
from bootstrap.host.objects import Object, mapping, name_of, text
from kube.cluster import CUSTOM_RESOURCE_DEFINITION, KindRef
from kube.crds import established
from kube.lightkube_cluster import LightkubeCluster
from phases import crds
from phases.refs import API, DEFINITIONS, EXTRACT
from phases.world import Access
from tests import worlds
from tests.api.storm import Fault, Storm, proxy

if TYPE_CHECKING:
    from bootstrap.engine import Context, Found
    from bootstrap.engine.verdict import Verdict
    from kube.cluster import Cluster
    from tests.api.conftest import ApiServer

ROOT = Path(__file__).parents[2]
# Bytes that all annotations of an object may have, and so the object that client-side apply keeps in one of them.
LARGEST_ANNOTATION = 262_144
# Seconds; an API server on a loaded machine establishes a definition within, so waits that must fail end after.
SOON = 3.0


class After:
    """A phase that needs the definitions."""

    def __init__(self) -> None:
        self.ran = False

    def phase(self) -> Phase:
        def probe(_: Context) -> Found[None, None]:
            self.ran = True
            return Done("ran", None)

        return Phase(name="core", title="after", target=1.0, steps=(Step(name="a", title="a", probe=probe),))


def run(api: Cluster, wanted: list[Object], folder: Path, *, forced: str = "", after: After | None = None) -> Verdict:
    phase = crds.phase(worlds.world(folder, forced=frozenset(filter(None, [forced]))))
    writing = replace(phase, steps=tuple(step for step in phase.steps if step.name == DEFINITIONS.name))
    values = {EXTRACT.name: tuple(wanted), API.name: Access(api, folder / "kubeconfig")}
    phases = [writing, *([after.phase()] if after else [])]
    return run_phases(phases, values=values, clock=SystemClock())


def words(verdict: Verdict) -> str:
    return "\n".join(
        "\n".join([failure.fact, failure.cause, failure.remedy, *map(str, failure.problems)])
        for failure in verdict.failures
    )


def test_definitions_above_the_limit_of_annotations_are_established_and_then_left_alone(
    cluster: LightkubeCluster, api_server: ApiServer, tmp_path: Path
) -> None:
    wanted = definitions("large.example.org", count=10, large=9)
    assert sum(compact(item) > LARGEST_ANNOTATION for item in wanted) == 9
    assert run(cluster, wanted, tmp_path).exit_code is ExitCode.DONE
    assert established(cluster.list_objects(CUSTOM_RESOURCE_DEFINITION), list(map(name_of, wanted))).holds
    writes = api_server.writes("firstlight")
    assert run(cluster, wanted, tmp_path).exit_code is ExitCode.DONE
    assert api_server.writes("firstlight") == writes


def test_fields_of_others_are_listed_and_taken_only_where_that_is_asked_for(
    cluster: LightkubeCluster, api_server: ApiServer, tmp_path: Path
) -> None:
    wanted = definitions("owned.example.org", count=3, large=0)
    theirs = [definition("owned.example.org", number, 2000) for number in (0, 1)]
    cluster.apply(theirs, field_manager="helm")
    writes = api_server.writes("firstlight")
    refused = run(cluster, wanted, tmp_path)
    assert refused.exit_code is ExitCode.INVALID
    for item in theirs:
        assert f'{name_of(item)}: Apply failed with 1 conflict: conflict with "helm": .spec.versions' in words(refused)
    assert "--force-conflicts" in words(refused)
    # One more is refused still, and nothing was written, the third one included.
    other = run(cluster, wanted, tmp_path, forced=name_of(theirs[0]))
    assert name_of(theirs[0]) not in words(other)
    assert name_of(theirs[1]) in words(other)
    dry = [write for write in api_server.writes("firstlight") if write not in writes]
    assert dry
    assert all("dryRun=All" in write for write in dry)
    assert run(cluster, [wanted[0], wanted[2]], tmp_path, forced=name_of(theirs[0])).exit_code is ExitCode.DONE
    live = cluster.get(CUSTOM_RESOURCE_DEFINITION, name_of(wanted[0]))
    assert mapping(live, "spec")["versions"] == mapping(wanted[0], "spec")["versions"]


def test_a_name_that_another_definition_has_ends_the_wait_with_the_servers_words(
    cluster: LightkubeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crds, "ESTABLISHED_SECONDS", SOON)
    first = definition("named.example.org", 0, 2000)
    assert run(cluster, [first], tmp_path).exit_code is ExitCode.DONE
    second = definition("named.example.org", 1, 2000)
    mapping(second, "spec", "names")["kind"] = text(first, "spec", "names", "kind")
    after = After()
    verdict = run(cluster, [first, second], tmp_path, after=after)
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert f"{name_of(second)}: names not accepted" in words(verdict)
    assert '"Gadget0" is already in use' in words(verdict)
    assert not after.ran


class Hiding(LightkubeCluster):
    """Leaves a group out of discovery, for so many times."""

    times = 0
    hidden = 0

    def discover(self) -> frozenset[KindRef]:
        found = super().discover()
        if self.hidden >= self.times:
            return found
        self.hidden += 1
        return frozenset(kind for kind in found if not kind[0].startswith("hidden.example.org"))


@pytest.mark.parametrize(("times", "code"), [(3, ExitCode.DONE), (1000, ExitCode.TIMED_OUT)])
def test_a_group_that_discovery_lacks_is_waited_for(
    api_server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, code: ExitCode
) -> None:
    if code is ExitCode.TIMED_OUT:
        monkeypatch.setattr(crds, "ESTABLISHED_SECONDS", SOON)
    hiding = cast("Hiding", Hiding.connect(api_server.kubeconfig))
    hiding.times = times
    after = After()
    verdict = run(hiding, definitions("hidden.example.org", count=2, large=0), tmp_path, after=after)
    assert hiding.hidden >= 3
    assert verdict.exit_code is code, words(verdict)
    assert after.ran == (code is ExitCode.DONE)
    if code is ExitCode.TIMED_OUT:
        assert "hidden.example.org/v1 Gadget0 is not served" in words(verdict)
    hiding.close()


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.6])
def test_a_storm_of_errors_is_survived(
    rate: float, cluster: LightkubeCluster, api_server: ApiServer, tmp_path: Path
) -> None:
    wanted = definitions(f"storm{round(10 * rate)}.example.org", count=24, large=1)
    storm = Storm(rate, seed=47)
    with proxy(api_server, tmp_path, storm) as url:
        stormy = LightkubeCluster.connect(api_server.kubeconfig, server=url)
        verdict = run(stormy, wanted, tmp_path)
        stormy.close()
    assert verdict.exit_code is ExitCode.DONE, words(verdict)
    assert set(storm.fired) == (set(Fault) if rate else set()), storm.fired
    writes = api_server.writes("firstlight")
    assert run(cluster, wanted, tmp_path).exit_code is ExitCode.DONE
    assert api_server.writes("firstlight") == writes
