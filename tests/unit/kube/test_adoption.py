"""The rule of adoption: what it lets pass and what it names."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kube.adoption import AdoptionBaseline, AdoptionState, adopted, judge
from kube.helm import Release
from kube.revisions import Revision, Running, revision_of

KEY = b"key"
DEPLOYMENT = "apps/v1 Deployment default/app"
OURS = Revision(1, "superseded", "Helm", "app-1.2.3", "c", "v", {DEPLOYMENT: "d", "v1 Secret default/s": "e"})
THEIRS = replace(OURS, number=2, status="deployed", deployed_by="helm-controller")
RUNNING = Running({DEPLOYMENT: 1}, {"app-1 (u1)": 0})
BASELINE = AdoptionBaseline("app", "default", OURS, RUNNING)
NOW = AdoptionState([OURS, THEIRS], RUNNING, observed=2, ready="True")


def theirs(**changes: object) -> AdoptionState:
    return replace(NOW, revisions=[OURS, replace(THEIRS, **changes)])  # type: ignore[arg-type] # a test's table


def test_a_clean_adoption_has_no_violation() -> None:
    assert adopted(BASELINE, NOW).holds
    assert judge(BASELINE, NOW).violations == ()
    assert judge(BASELINE, NOW).unproven == ()


@pytest.mark.parametrize(
    ("now", "violation"),
    [
        (replace(NOW, revisions=[OURS]), "not adopted: release default/app revision 1 superseded by Helm"),
        (replace(NOW, revisions=[]), "is gone"),
        (replace(NOW, observed=1), "HelmRelease at 1"),
        (replace(NOW, ready="upgrade failed"), "upgrade failed"),
        (theirs(status="pending-upgrade"), "pending-upgrade"),
        (theirs(number=3), "HelmRelease at 2"),
        (replace(theirs(number=3), observed=3), "2 further revisions"),
        (theirs(chart="app-1.2.3+abc"), "app-1.2.3+abc after"),
        (theirs(chart_digest="x"), "the chart is another one"),
        (theirs(values_digest="x"), "the values differ"),
        (theirs(objects={**OURS.objects, DEPLOYMENT: "x"}), f"{DEPLOYMENT} changed (in the manifest)"),
        (theirs(objects={DEPLOYMENT: "d"}), "Secret default/s is gone (in the manifest)"),
        (theirs(objects={**OURS.objects, "v1 ConfigMap default/n": "n"}), "ConfigMap default/n is new"),
        (replace(NOW, running=Running({DEPLOYMENT: 2}, RUNNING.pods)), "changed (generation 1 to 2)"),
        (replace(NOW, running=Running(RUNNING.generations, {"app-2 (u2)": 0})), "pod app-1 (u1) was replaced"),
        (replace(NOW, running=Running(RUNNING.generations, {"app-1 (u1)": 1})), "pod app-1 (u1) was restarted"),
    ],
)
def test_a_violation_is_named(now: AdoptionState, violation: str) -> None:
    assert violation in "; ".join(judge(BASELINE, now).violations)


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (
            {"app-1 (u1)": "app: Error, exit code 137"},
            "restarted in place: app: Error, exit code 137",
        ),
        ({}, "no end is known"),
    ],
)
def test_how_a_container_ended_that_was_started_again_is_told(ends: dict[str, str], told: str) -> None:
    judgement = judge(BASELINE, replace(NOW, running=Running(RUNNING.generations, {"app-1 (u1)": 1}, ends)))
    assert told in judgement.violations[0]
    assert judgement.is_same


@pytest.mark.parametrize(
    ("now", "is_same"),
    [
        (theirs(values_digest="x"), False),
        (theirs(chart_digest="x"), False),
        (theirs(objects={DEPLOYMENT: "d"}), False),
        (replace(NOW, running=Running(RUNNING.generations, {"app-2 (u2)": 0})), True),
        (replace(NOW, running=Running({DEPLOYMENT: 2}, RUNNING.pods)), True),
    ],
)
def test_whether_git_gives_the_same_is_told_apart_from_what_others_did(now: AdoptionState, *, is_same: bool) -> None:
    judgement = judge(BASELINE, now)
    assert judgement.violations
    assert judgement.is_same is is_same


def test_a_pod_more_is_no_violation() -> None:
    now = replace(NOW, running=Running(RUNNING.generations, {**RUNNING.pods, "app-2 (u2)": 0}))
    assert judge(BASELINE, now).violations == ()


def test_what_was_not_noted_in_time_is_unproven() -> None:
    judgement = judge(replace(BASELINE, running=None), NOW)
    assert judgement.violations == ()
    assert "before generations and pods could be noted" in judgement.unproven[0]


def test_a_baseline_survives_the_journal_without_its_secrets() -> None:
    baseline = replace(BASELINE, revision=revision_of(release(""), KEY))
    written = json.dumps(baseline.to_json())
    assert "planted" not in written
    assert AdoptionBaseline.from_json(json.loads(written)) == baseline


@pytest.mark.parametrize(
    ("labels", "equal"),
    [
        ("    helm.toolkit.fluxcd.io/name: app\n    helm.toolkit.fluxcd.io/namespace: default\n", True),
        ("    other: label\n", False),
    ],
)
def test_only_fluxs_own_labels_are_overlooked(labels: str, *, equal: bool) -> None:
    before, after = revision_of(release(""), KEY), revision_of(release(f"  labels:\n{labels}"), KEY)
    assert (before.objects == after.objects) is equal


def release(labels: str) -> Release:
    manifest = (
        "# Source: app/templates/secret.yaml\napiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n"
        f"{labels}  annotations:\nstringData: {{a: planted}}\n"
    )
    return Release("app", "default", 1, "deployed", "app", "1.2.3", {}, manifest, {}, "Helm", "")
