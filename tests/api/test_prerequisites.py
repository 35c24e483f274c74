"""Faults 41 and 42: the phase `prerequisites` against a real API server and what it finds there."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine.testing import Recording, run_phases
from bootstrap.host import yaml_io
from bootstrap.host.clock import SystemClock
from bootstrap.host.errors import ExitCode
from bootstrap.host.objects import mapping
from bootstrap.host.secret import Redactor, Secret
from kube.cluster import NAMESPACE, SECRET
from phases import prerequisites
from phases.refs import API, SECRETS
from phases.world import Access, Credentials
from talos import bundle
from tests import worlds
from tests.scripted.canaries import new_bundle

if TYPE_CHECKING:
    from bootstrap.engine.verdict import Verdict
    from bootstrap.host.objects import Object
    from kube.lightkube_cluster import LightkubeCluster
    from tests.api.conftest import ApiServer

ROOT = Path(__file__).parents[2]
TOKEN = "a token that nobody may see"
# Seconds; a namespace that stays must end the wait, one that goes is seen by a watch.
SOON = 3.0


@dataclass
class Place:
    """A repository with one namespace and one Secret in it, and a cluster that may have them in any state."""

    folder: Path
    name: str
    cluster: LightkubeCluster
    server: ApiServer
    recording: Recording = field(default_factory=Recording)
    bundle: bundle.Bundle = field(default_factory=lambda: bundle.read(Secret(new_bundle(), "bundle")))

    def __post_init__(self) -> None:
        (self.folder / "bootstrap").mkdir(parents=True)
        (self.folder / "bootstrap" / "resources.yaml").write_text(yaml_io.dump_all([self.namespace(), self.secret()]))

    def namespace(self, **labels: str) -> Object:
        wanted: Object = {"pod-security.kubernetes.io/enforce": "restricted", **labels}
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"labels": wanted, "name": self.name}}

    def secret(self, token: str = "") -> Object:
        value: Object = {"stringData": {"token": token or "secret://connect-token"}}
        metadata: Object = {"name": "token", "namespace": self.name}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", **value}

    def run(self, *, rotate: bool = False) -> Verdict:
        redactor = Redactor()
        redactor.add(Secret(TOKEN, "token"))
        world = worlds.world(self.folder, root=self.folder, redactor=redactor, rotate=rotate)
        named = {"connect-token": Secret(TOKEN, "op://lab/token")}
        values = {
            API.name: Access(self.cluster, self.folder / "kubeconfig"),
            SECRETS.name: Credentials(self.bundle, Secret(b"", "talosconfig"), named),
        }
        return run_phases(
            [prerequisites.phase(world)], values=values, clock=SystemClock(), readers=[self.recording],
            redact=redactor.redact,
        )  # fmt: skip

    def writes(self) -> list[str]:
        every = self.server.writes("firstlight")
        ours = [write for write in every if self.name in write and "fieldManager=firstlight" in write]
        return [write for write in ours if "dryRun" not in write]

    def live(self) -> Object:
        found = self.cluster.get(NAMESPACE, self.name)
        assert found
        return found

    def token(self) -> Any:
        return mapping(self.cluster.get(SECRET, "token", self.name), "data").get("token")


@pytest.fixture
def place(cluster: LightkubeCluster, api_server: ApiServer, tmp_path: Path) -> Place:
    return Place(tmp_path, f"prerequisites-{secrets.token_hex(4)}", cluster, api_server)


def words(verdict: Verdict) -> str:
    return "\n".join(
        "\n".join([failure.fact, failure.cause, failure.remedy, *(f"{p} {p.remedy}" for p in failure.problems)])
        for failure in verdict.failures
    )


def test_a_namespace_that_is_there_gets_our_labels_and_keeps_its_own(place: Place, cluster: LightkubeCluster) -> None:
    theirs = place.namespace(team="storage")
    del mapping(theirs, "metadata", "labels")["pod-security.kubernetes.io/enforce"]
    cluster.apply([theirs], field_manager="kubectl")
    assert place.run().exit_code is ExitCode.DONE
    labels = mapping(place.live(), "metadata", "labels")
    assert labels["team"] == "storage"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    writes = place.writes()
    assert place.run().exit_code is ExitCode.DONE
    assert place.writes() == writes


def test_a_label_that_another_manager_sets_otherwise_is_refused_with_field_and_manager(
    place: Place, cluster: LightkubeCluster
) -> None:
    cluster.apply(
        [place.namespace(**{"pod-security.kubernetes.io/enforce": "privileged"})], field_manager="kubectl-label"
    )
    verdict = place.run()
    assert verdict.exit_code is ExitCode.INVALID
    assert 'conflict with "kubectl-label"' in words(verdict)
    assert "pod-security.kubernetes.io/enforce" in words(verdict)
    assert "bootstrap/resources.yaml:" in words(verdict)
    assert place.writes() == []


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (
            {"annotations": {"meta.helm.sh/release-name": "storage"}},
            "belongs to storage by metadata.annotations.meta.helm.sh/release-name (helm)",
        ),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "their-owner", "uid": "1"}]},
            "belongs to ConfigMap their-owner by metadata.ownerReferences (helm)",
        ),
    ],
    ids=["release", "owner"],
)
def test_a_namespace_that_goes_when_another_goes_is_refused(
    place: Place, cluster: LightkubeCluster, claim: Object, said: str
) -> None:
    cluster.apply([{**place.namespace(), "metadata": {"name": place.name, **claim}}], field_manager="helm")
    verdict = place.run()
    assert verdict.exit_code is ExitCode.INVALID
    assert said in words(verdict)
    assert place.writes() == []


def test_other_content_of_a_secret_is_shown_by_digest_and_replaced_only_where_that_is_asked_for(
    place: Place, cluster: LightkubeCluster
) -> None:
    cluster.apply([place.namespace(), place.secret("the token of somebody else")], field_manager="kubectl")
    before = place.token()
    verdict = place.run()
    assert verdict.exit_code is ExitCode.INVALID
    assert f"Secret {place.name}/token has other content: token (" in words(verdict)
    assert "--rotate replaces it" in words(verdict)
    assert place.writes() == []
    assert place.token() == before
    told = words(verdict) + repr(place.recording.events)
    assert not [form for form in ("somebody else", TOKEN, before) if form in told]
    # The digests compare over runs of one cluster and tell nothing to whoever has not its secrets.
    assert words(place.run()) == words(verdict)
    other = replace(place, bundle=bundle.read(Secret(new_bundle(), "bundle")), folder=place.folder / "other")
    assert words(other.run()) != words(verdict)
    assert place.run(rotate=True).exit_code is ExitCode.DONE
    assert place.token() != before
    writes = place.writes()
    assert place.run().exit_code is ExitCode.DONE
    assert place.writes() == writes


def test_a_secret_of_another_type_is_refused_in_the_servers_words_before_anything_is_written(
    place: Place, cluster: LightkubeCluster
) -> None:
    theirs = {**place.secret("the token of somebody else"), "type": "example.org/token"}
    cluster.apply([place.namespace(), theirs], field_manager="kubectl")
    verdict = place.run(rotate=True)
    assert verdict.exit_code is ExitCode.INVALID
    assert "field is immutable" in words(verdict)
    assert "bootstrap/resources.yaml:" in words(verdict)
    assert place.writes() == []


def begin_to_end(place: Place, cluster: LightkubeCluster) -> None:
    """Leave the namespace as its controller shows one with content that has a finalizer."""
    held = place.namespace()
    mapping(held, "metadata")["finalizers"] = ["example.org/hold"]
    cluster.apply([held, place.secret("the token of somebody else")], field_manager="kubectl")
    cluster._transport.json("DELETE", f"/api/v1/namespaces/{place.name}", what="delete")
    condition: Object = {
        "type": "NamespaceFinalizersRemaining", "status": "True", "reason": "SomeFinalizersRemain",
        "message": "Some content in the namespace has finalizers remaining: example.org/hold in 1 resource instances",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    status: Object = {**place.live(), "status": {"phase": "Terminating", "conditions": [condition]}}
    cluster._transport.json(
        "PUT", f"/api/v1/namespaces/{place.name}/status", what="say so", body=status, body_type="application/json"
    )


def end(place: Place, cluster: LightkubeCluster) -> None:
    """What the namespace controller does at last, which this server has not."""
    cluster._transport.json("DELETE", f"/api/v1/namespaces/{place.name}/secrets/token", what="empty")
    cluster._transport.json(
        "PATCH", f"/api/v1/namespaces/{place.name}", what="release", body={"metadata": {"finalizers": None}},
        body_type="application/merge-patch+json",
    )  # fmt: skip
    live: Object = {**place.live(), "spec": {"finalizers": []}}
    path = f"/api/v1/namespaces/{place.name}/finalize"
    cluster._transport.json("PUT", path, what="end", body=live, body_type="application/json")


def test_a_namespace_that_is_being_deleted_is_waited_for_and_then_made_again(
    place: Place, cluster: LightkubeCluster
) -> None:
    begin_to_end(place, cluster)
    before = mapping(place.live(), "metadata")["uid"]
    later = threading.Timer(SOON / 4, end, (place, cluster))
    later.start()
    verdict = place.run()
    later.join()
    assert verdict.exit_code is ExitCode.DONE, words(verdict)
    assert mapping(place.live(), "metadata")["uid"] != before
    assert place.token()


def test_a_namespace_that_stays_ends_the_wait_with_what_holds_it(
    place: Place, cluster: LightkubeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prerequisites, "ENDING_SECONDS", SOON)
    begin_to_end(place, cluster)
    verdict = place.run()
    end(place, cluster)
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert f"namespace {place.name} to be gone" in words(verdict)
    assert "example.org/hold in 1 resource instances; finalizers kubernetes, example.org/hold" in words(verdict)
    assert place.writes() == []
