"""A bundle whose certificates are outside their dates, and one that belongs to another cluster."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError
from bootstrap.host.secret import Secret
from inventory.loader import load
from talos import bundle, throwaway, validity
from tests.unit.talos.recorded import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

TREE = FIXTURES / "tree"
INFRA, LAB = load(TREE, "infra"), load(TREE, "lab")
REFERENCE = "op://infra/talos-infra/bundle"
NAMES = ["etcd", "k8s", "k8saggregator", "os"]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "infra.yaml"
    path.write_text("written just now")
    return path


def refused(clock: datetime, file: Path, content: Secret | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        validity.require_dates(content or throwaway.make(REFERENCE), now=clock, files=[file])
    return caught.value


def test_today_it_is_valid(file: Path) -> None:
    validity.require_dates(throwaway.make(REFERENCE), now=now(), files=[file])


def test_an_expired_one_is_named_with_its_dates(file: Path) -> None:
    error = refused(now() + timedelta(days=400), file)
    assert error.fact == f"{REFERENCE} holds certificates outside their dates"
    assert [each.text.partition(": ")[0] for each in error.problems] == [f"`certs.{n}.crt` is expired" for n in NAMES]
    assert "it is valid from 20" in error.problems[0].text
    assert error.cause.endswith("if that is right, it is the certificates")


def test_a_clock_that_is_behind_is_told_by_the_files(file: Path) -> None:
    error = refused(now() - timedelta(days=2), file)
    assert "`certs.os.crt` is not valid yet: it is valid from" in error.problems[-1].text
    assert error.cause.startswith("the clock here is behind: ")
    assert error.remedy.startswith("set the clock")


def test_an_old_repository_does_not_accuse_the_clock(file: Path) -> None:
    old = (now() - timedelta(days=9)).timestamp()
    os.utime(file, (old, old))
    assert "clock here is behind" not in refused(now() - timedelta(days=2), file).cause


def test_what_is_no_certificate_is_named_alone(file: Path) -> None:
    document: Any = yaml_io.load(throwaway.make(REFERENCE).reveal(), source="bundle")
    document["certs"]["etcd"]["crt"] = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nplanted").decode()
    error = refused(now(), file, Secret(yaml_io.dump(document), REFERENCE))
    assert [each.text for each in error.problems] == ["`certs.etcd.crt` is not a certificate"]


def keep_talosconfig(state: Path, made: bundle.Bundle) -> None:
    state.mkdir(parents=True, exist_ok=True)
    authority = base64.b64encode(made.machine_authority).decode()
    (state / "talosconfig").write_text(yaml_io.dump({"contexts": {"any": {"ca": authority}}}))


def test_the_bundle_of_another_cluster_is_refused(tmp_path: Path) -> None:
    ours, theirs = (bundle.read(throwaway.make(REFERENCE)) for _ in range(2))
    keep_talosconfig(tmp_path / "apps", theirs)
    validity.require_own(ours, INFRA, tmp_path / "infra")
    with pytest.raises(InputError, match="it is the bundle of apps"):
        validity.require_own(theirs, INFRA, tmp_path / "infra")


@pytest.mark.parametrize(
    ("cluster", "is_refused"), [(INFRA, True), (LAB, False), (replace(INFRA, rehearsal=True), False)]
)
def test_another_bundle_than_that_of_the_talosconfig(tmp_path: Path, cluster: Any, is_refused: bool) -> None:  # noqa: FBT001 # a parameter of the table
    before, after = (bundle.read(throwaway.make(REFERENCE)) for _ in range(2))
    state = tmp_path / cluster.name
    keep_talosconfig(state, before)
    validity.require_own(before, cluster, state)
    if is_refused:
        with pytest.raises(InputError, match="made from a bundle with another authority"):
            validity.require_own(after, cluster, state)
    else:
        validity.require_own(after, cluster, state)
