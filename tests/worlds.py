"""The lab of this repository as a world, for tests that give only what they are about."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.secret import Redactor
from inventory.loader import load
from kube.lightkube_cluster import LightkubeCluster
from phases.world import World
from talos.client import Talosctl
from talos.probe import observe

ROOT = Path(__file__).parents[1]


def world(state: Path, **different: Any) -> World:
    """A world that nothing was done in yet.

    Args:
        state: its folder.
        different: fields that are not the lab's; runner and redactor also count for what is made of them.
    """
    redactor = different.get("redactor", Redactor())
    runner = different.get("runner", ShCommandRunner(redactor))
    talosctl = Talosctl(Path("talosctl"), runner)
    lab = World(
        root=ROOT, cluster=load(ROOT, "lab"), state=state, runner=runner, programs={}, talosctl=talosctl,
        observe=partial(observe, talosctl=talosctl), connect=LightkubeCluster.connect, redactor=redactor,
        environment={}, trust=None, overlays=(), commit="", stand_ins=frozenset(),
    )  # fmt: skip
    return replace(lab, **different)
