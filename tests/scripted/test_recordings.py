"""The recordings are what the real programs say about the files as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.secret import Redactor
from gitops.build import Kustomize
from gitops.loader import load
from talos.client import Talosctl
from tests.scripted.recordings import ROOT, Recordings, charts_digest, of_the_machine, of_the_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RENEW = "renew them: .venv/bin/pytest -q tests/scripted/record.py"


def test_the_recordings_are_up_to_date(programs: Callable[[str], Path]) -> None:
    runner = ShCommandRunner(Redactor())
    kustomize, talosctl = Kustomize(runner, programs("kustomize")), Talosctl(programs("talosctl"), runner)
    said = {**of_the_tree(load(ROOT, "lab", kustomize), kustomize), **of_the_machine(talosctl), **charts_digest()}
    assert [name for name, content in said.items() if Recordings().text(name) != content] == [], RENEW
