"""The steps about charts, files alone: what each core release is made of, and whether it renders."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from bootstrap.engine import Action, Changes, Conflict, Context, Done, Found, KillSafety, Step, ToDo
from bootstrap.host.commands import CommandError
from bootstrap.host.errors import Problem
from gitops.releases import release, write_core
from kube import helm
from kube.helmfile import Helmfile
from phases import sources
from phases.refs import CHARTS, CORE_FOLDER, FILES, core_releases

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bootstrap.engine.step import AnyStep
    from gitops.tree import Tree
    from phases.world import World


def steps(world: World) -> tuple[AnyStep, ...]:
    """The steps, for the phase that comes before anything is changed."""
    return (
        Step(
            name=CORE_FOLDER.name,
            title="Read chart, version and values of each release from the tree",
            probe=partial(_read_probe, world),
            actions=partial(_read_actions, world),
            needs=(FILES.name,),
            early=True,
            inputs=sources.tree(world.cluster),
        ),
        Step(
            name=CHARTS.name,
            title="Pull and render the chart of every core release",
            probe=partial(_render_probe, world),
            needs=(CORE_FOLDER.name,),
            early=True,
            inputs=(*sources.tree(world.cluster), *sources.HELMFILES),
        ),
    )


def helmfile(world: World, folder: Path, name: str, *, kubeconfig: Path | None, purpose: str = "") -> Helmfile:
    """A helmfile of the repository, its surroundings shared with no other process.

    Args:
        world: the world.
        folder: chart, version and values of each release, from `CORE_FOLDER`.
        name: the file's name in `bootstrap/helmfile.d`.
        kubeconfig: the private kubeconfig; None for what needs no cluster.
        purpose: names the surroundings; one process each.
    """
    environment = helm.helm_environment(surroundings(world, purpose or name.partition(".")[0]))
    return Helmfile(
        runner=world.runner,
        helmfile=world.programs["helmfile"],
        helm=world.programs["helm"],
        file=world.root / "bootstrap" / "helmfile.d" / name,
        cluster=world.cluster.name,
        # Each release has a gate of ours, which sees more than helm's wait.
        environment={**environment, "FIRSTLIGHT_CORE": str(folder), "FIRSTLIGHT_HELM_WAIT": "false"},
        kubeconfig=kubeconfig,
    )


def surroundings(world: World, purpose: str) -> Path:
    """The folder of helm and helmfile for one purpose, such as a release."""
    return world.state / "helm" / purpose


def _read_probe(world: World, ctx: Context) -> Found[Tree, Path]:
    folder = world.state / "core"
    wanted = world.state / "core.new"
    write_core(ctx.value(FILES), wanted)
    names = sorted(path.name for path in wanted.iterdir())
    if all((folder / name).exists() and (folder / name).read_bytes() == (wanted / name).read_bytes() for name in names):
        return Done(f"{len(names) - 1} releases", folder)
    return ToDo(ctx.value(FILES), f"{len(names) - 1} releases")


def _read_actions(world: World, _ctx: Context, tree: Tree) -> Sequence[Action]:
    return [
        Action(
            description="leave chart, version and values where helmfile reads them",
            reason="they come from the HelmReleases of the tree, after Flux's substitution",
            run=lambda _: write_core(tree, world.state / "core"),
            recognised_by="the files hold what the tree says",
            kill_safety=KillSafety.REPEATABLE,
            changes=Changes.FILES,
        )
    ]


def _render_probe(world: World, ctx: Context) -> Found[None, None]:
    file = helmfile(world, ctx.value(CORE_FOLDER), "01-core.yaml.gotmpl", kubeconfig=None, purpose="preflight")
    try:
        rendered = file.template(kube_version=world.cluster.kubernetes_version)
    except CommandError as error:
        problem = Problem(error.cause, str(file.file.relative_to(world.root)))
        return Conflict(
            "a core release cannot be rendered", problems=(problem,), remedy="check chart, version and values"
        )
    count = sum(line.startswith(b"kind:") for line in rendered.splitlines())
    made_of = [_made_of(world, ctx, one.name) for one in core_releases(ctx.value(FILES))]
    return Done(f"{len(made_of)} releases with {count} objects; {'; '.join(made_of)}", None)


def _made_of(world: World, ctx: Context, name: str) -> str:
    """What a release is made of: charts may render at random, so their digests compare and their output does not."""
    one = release(ctx.value(FILES), name)
    chart = helm.pulled_digest(surroundings(world, "preflight"), one.chart, one.version)
    values = hashlib.sha256((ctx.value(CORE_FOLDER) / f"{one.release_name}.yaml").read_bytes()).hexdigest()[:12]
    return f"{name}: chart {one.version} ({chart or 'not kept'}), values ({values})"
