"""The steps about charts, files alone: what each core release is made of, whether it renders, and may be installed."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bootstrap.engine import Action, Changes, Conflict, Context, Done, Found, KillSafety, Step, ToDo
from bootstrap.host import yaml_io
from bootstrap.host.commands import CommandError
from bootstrap.host.errors import Problem
from bootstrap.host.files import write_atomically
from checks import rendering
from checks.catalogue import check
from gitops.refusals import refused_values
from gitops.releases import core_files, release, releases, write_core
from kube import helm
from kube.helmfile import Helmfile
from kube.renderings import Renderings, key_of
from phases import sources
from phases.definitions import HELMFILE
from phases.refs import CHARTS, CORE_FOLDER, FILES, GUARDS, core_releases
from phases.resources import load_resources, purposes, unknown_references

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        Step(
            name=GUARDS.name,
            title="Refuse releases that could not run here or be handed over",
            probe=partial(_guards_probe, world),
            needs=(FILES.name, CHARTS.name),
            early=True,
            inputs=(*sources.tree(world.cluster), *sources.HELMFILES, *sources.RESOURCES),
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


def kept(
    world: World, file: Helmfile, programs: Sequence[Path], make: Callable[[], bytes], *, charts: Path | None = None
) -> bytes:
    """What a helmfile renders, or rendered when everything that it follows from was the same.

    Args:
        world: the world.
        file: renders without a cluster.
        programs: those that take part besides helmfile and helm.
        make: renders.
        charts: the file's surroundings where charts are looked for in them afterwards; None where they are not.
    """
    # The lab's charts are other ones under the same versions whenever its files change.
    if world.cache is None or (world.cluster.virtual and not world.charts):
        return make()
    renderings = Renderings(world.cache / "renderings")
    key = key_of(
        file, (file.helmfile, file.helm, *programs), (world.cluster.kubernetes_version, world.charts),
        trust=world.environment.get("SSL_CERT_FILE", ""),
    )  # fmt: skip
    found = renderings.find(key)
    if found and charts:
        found.restore(charts)
    if found:
        return found.output
    output = make()
    renderings.keep(key, output, Path(file.environment["HELMFILE_CACHE_HOME"]).parent)
    return output


def pulled_core(world: World, tree: Tree, folder: Path, purpose: str) -> Path:
    """Like `CORE_FOLDER`, but each chart is what preflight pulled: no registry is asked while releases are installed.

    Args:
        world: the world.
        tree: of the cluster.
        folder: of `CORE_FOLDER`.
        purpose: as `helmfile` has it; the folder is made there.

    Returns:
        The given folder where a chart of the core releases was not pulled.
    """
    places: dict[tuple[str, str], Path] = {}
    core = {(one.namespace, one.name) for one in core_releases(tree)}
    for one in (one for one in releases(tree) if (one.namespace, one.name) in core):
        place = helm.pulled_chart(surroundings(world, "preflight"), one.chart, one.version)
        if place is None:
            return folder
        places[one.namespace, one.release_name] = place
    made = surroundings(world, purpose) / "core"
    for name, content in core_files(tree, places).items():
        write_atomically(made / name, content)
    return made


def surroundings(world: World, purpose: str) -> Path:
    """The folder of helm and helmfile for one purpose, such as a release."""
    return world.state / "helm" / purpose


def _read_probe(world: World, ctx: Context) -> Found[Tree, Path]:
    folder, wanted = world.state / "core", core_files(ctx.value(FILES))
    seen = f"{len(wanted) - 1} releases"
    if all((folder / name).exists() and (folder / name).read_bytes() == wanted[name] for name in wanted):
        return Done(seen, folder)
    return ToDo(ctx.value(FILES), seen)


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


def _render_probe(world: World, ctx: Context) -> Found[None, bytes]:
    file = helmfile(world, ctx.value(CORE_FOLDER), "01-core.yaml.gotmpl", kubeconfig=None, purpose="preflight")
    try:
        render = partial(file.template, kube_version=world.cluster.kubernetes_version)
        rendered = kept(world, file, (), render, charts=surroundings(world, "preflight"))
    except CommandError as error:
        problem = Problem(error.cause, str(file.file.relative_to(world.root)))
        tree = ctx.value(FILES)
        told = (*refused_values(tree, f"{error.stderr}\n{error.stdout}"), *rendering.problems(tree, error.stderr))
        problems = told or (problem,)
        return Conflict(
            "a core release cannot be rendered", problems=problems, remedy="check chart, version and values"
        )
    count = sum(line.startswith(b"kind:") for line in rendered.splitlines())
    made_of = [_made_of(world, ctx, one.name) for one in core_releases(ctx.value(FILES))]
    return Done(f"{len(made_of)} releases with {count} objects; {'; '.join(made_of)}", rendered)


def _guards_probe(world: World, ctx: Context) -> Found[None, None]:
    resources = load_resources(world.root)
    endpoint = urlsplit(world.cluster.endpoint)
    problems = (
        *unknown_references(world.root, resources, purposes(world.cluster.secrets)),
        *check(
            ctx.value(FILES), ctx.value(CHARTS), resources=resources,
            crds=yaml_io.load_file(world.root / "bootstrap" / "helmfile.d" / HELMFILE, root=world.root),
            endpoint=(endpoint.hostname or "", str(endpoint.port or "")),
        ),
    )  # fmt: skip
    if problems:
        fact = "releases of the core phase could not run here, or not be handed over"
        return Conflict(fact, problems=problems, remedy="correct the files; nothing was changed")
    return Done("definitions, settings, pods and certificates of each release are fit to be installed", None)


def _made_of(world: World, ctx: Context, name: str) -> str:
    """What a release is made of: charts may render at random, so their digests compare and their output does not."""
    one = release(ctx.value(FILES), name)
    chart = helm.pulled_digest(surroundings(world, "preflight"), one.chart, one.version)
    values = hashlib.sha256((ctx.value(CORE_FOLDER) / f"{one.release_name}.yaml").read_bytes()).hexdigest()[:12]
    return f"{name}: chart {one.version} ({chart or 'not kept'}), values ({values})"
