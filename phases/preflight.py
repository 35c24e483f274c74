"""Preflight: programs, files, secrets and machines, before anything is changed."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Conflict, Context, Done, Foreseen, Found, Observation, Phase, Skip, Step, ToDo
from bootstrap.engine.retry import SECRET
from bootstrap.engine.step import Gate
from bootstrap.host import yaml_io
from bootstrap.host.commands import Command, CommandError
from bootstrap.host.errors import ExitCode, Problem
from bootstrap.host.objects import mapping, text
from bootstrap.host.secret import Secret
from gitops.build import Kustomize
from gitops.loader import load as load_tree
from gitops.releases import releases
from inventory.facts import unconfirmed
from inventory.secrets import providers, resolve_all
from phases import charts, foresight, hardware, machines, sources
from phases.refs import COMMIT, CORE_RELEASES, FILES, MACHINES, SECRETS
from phases.resources import load_resources
from phases.world import Credentials, World
from talos import bundle as bundles
from talos import validity
from talos.machineconfig import talosconfig
from talos.probe import Observation as Seen
from talos.probe import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops.tree import Tree
    from talos.bundle import Bundle

# Half the year for which talosctl makes its certificates.
TALOSCONFIG_SECONDS: Final = 180 * 24 * 3600.0
# Seconds for one Git command; ls-remote crosses the network.
GIT_SECONDS: Final = 30.0
# What a cluster is made of besides code; it must be committed before real machines are touched.
DATA_FOLDERS: Final = (
    "bootstrap/expected-crds.yaml", "bootstrap/helmfile.d", "bootstrap/probe.yaml", "bootstrap/resources.yaml",
    "inventory", "kubernetes", "talos",
)  # fmt: skip


def phase(world: World) -> Phase:
    """The phase `preflight`."""
    budget = world.cluster.budgets["preflight"]
    return Phase(
        name="preflight",
        title="Check programs, files, secrets and machines",
        target=budget.target,
        deadline=max(budget.deadline, machines.MACHINE_SECONDS),
        steps=(
            Step(name="programs", title="Find the pinned programs", probe=partial(_programs, world), early=True),
            Step(
                name=FILES.name,
                title="Read the tree that Flux will run",
                probe=partial(_files, world),
                early=True,
                inputs=(*sources.tree(world.cluster), *sources.RESOURCES),
            ),
            Step(
                name="facts",
                title="Require confirmed facts about the machines",
                probe=partial(_facts, world),
                foresee=partial(_facts_foreseen, world),
                early=True,
                inputs=sources.inventory(world.cluster),
            ),
            Step(
                name=SECRETS.name,
                title="Resolve every secret",
                probe=partial(_secrets, world),
                foresee=partial(_secrets_foreseen, world),
                early=True,
                inputs=sources.inventory(world.cluster),
            ),
            Step(
                name=COMMIT.name,
                title="Know the commit that Flux must reach",
                probe=partial(_commit, world),
                foresee=partial(_commit_foreseen, world),
                early=True,
            ),
            *charts.steps(world),
            Step(
                name=MACHINES.name,
                title="See every machine",
                probe=partial(_machines, world),
                foresee=partial(_machines_foreseen, world),
                gate=partial(_machines_gate, world),
                needs=(SECRETS.name,),
                early=True,
                inputs=sources.inventory(world.cluster),
            ),
        ),
    )


def _programs(world: World, _ctx: Context) -> Found[None, None]:
    names = ("talosctl", "helm", "helmfile", "yq", "kustomize", "kubeconform")
    return Done(f"{', '.join(names)} at their pinned versions", None) if world.programs else ToDo(None)


def _files(world: World, _ctx: Context) -> Found[None, Tree]:
    tree = load_tree(world.root, world.cluster.name, Kustomize(world.runner, world.programs["kustomize"]))
    known = {(release.namespace, release.release_name) for release in releases(tree)}
    wanted = [one for one in CORE_RELEASES if not one.optional]
    missing = [one.name for one in wanted if (one.namespace, one.name) not in known]
    if missing:
        problems = tuple(Problem(f"the tree has no HelmRelease {name}", world.cluster.git.path) for name in missing)
        return Conflict("the tree lacks releases that the core phase installs", problems=problems)
    resources = load_resources(world.root)
    count = sum(1 for _ in tree.objects())
    evidence = f"{len(tree.kustomizations)} Kustomizations with {count} objects, {len(resources)} resources of our own"
    return Done(evidence, tree)


def _facts(world: World, _ctx: Context) -> Found[None, None]:
    if world.cluster.virtual or world.cluster.rehearsal:
        return Skip("the machines are virtual ones, made as the inventory says", None)
    problems = unconfirmed(world.root, world.cluster)
    if problems:
        return Conflict("the inventory has facts that nobody confirmed", problems=problems)
    return Done("nothing in the inventory is unverified", None)


def _facts_foreseen(world: World, _ctx: Context) -> Foreseen[None, None]:
    count = len(unconfirmed(world.root, world.cluster))
    summary = f"{count} unverified: a run on real machines refuses them" if count else "nothing is unverified"
    return Foreseen(None, None, done=True, summary=summary)


def _secrets(world: World, ctx: Context) -> Found[None, Credentials]:
    settings = world.cluster.secrets
    answering = providers(
        settings, environment=world.environment, runner=world.runner, op=world.programs.get("op"), ca_file=world.trust
    )
    with ctx.outside("request"):
        resolved = resolve_all(
            (settings.talos_bundle, settings.connect_token),
            answering,
            persist=lambda read: ctx.retry(read, SECRET),
        )
    for note in resolved.notes:
        ctx.note(note)
    token = resolved.secrets[settings.connect_token.text]
    bundle = bundles.read(resolved.secrets[settings.talos_bundle.text])
    written = (world.root / world.cluster.source, *(world.root / "talos" / world.cluster.name).rglob("*.yaml"))
    validity.require_dates(bundle.secret, now=datetime.now(UTC), files=written)
    validity.require_own(bundle, world.cluster, world.state)
    for secret in (*bundle.sensitive, token):
        world.redactor.add(secret)
    ctx.identify("Talos cluster id", bundle.identity)
    credentials = Credentials(
        bundle=bundle,
        talosconfig=_talosconfig(world, bundle),
        named={"connect-token": token},
    )
    return Done(f"{settings.talos_bundle}, {settings.connect_token}", credentials)


def _secrets_foreseen(world: World, _ctx: Context) -> Foreseen[None, Credentials]:
    settings = world.cluster.secrets
    references = ", ".join(str(Secret(b"", each.text)) for each in (settings.talos_bundle, settings.connect_token))
    return Foreseen(None, foresight.credentials(world), done=True, summary=f"{references}; here with throw-away ones")


def _talosconfig(world: World, bundle: Bundle) -> Secret:
    """The private talosconfig when it is of this cluster, else a new one.

    talosctl makes a certificate that begins this very second, and a node whose clock is behind by as much as that
    refuses it as expired; one that was made before is valid on both sides.
    """
    path = world.talosconfig
    if path.exists() and time.time() - path.stat().st_mtime < TALOSCONFIG_SECONDS:
        content = path.read_bytes()
        document = yaml_io.load(content, source=path.name)
        contexts = mapping(document, "contexts").values() if isinstance(document, dict) else ()
        authorities = [base64.b64decode(text(one, "ca")) for one in contexts if isinstance(one, dict)]
        if bundle.machine_authority in authorities:
            return Secret(content, str(path))
    return talosconfig(world.talosctl, world.cluster, bundle.secret)


def _commit(world: World, _ctx: Context) -> Found[None, str]:
    if world.commit:
        return Done(f"the worktree's own commit {world.commit[:12]}, served by the lab", world.commit)
    git = world.programs.get("git")
    if git is None:
        return Conflict("git is not there, which knows the commit", remedy="apt-get install git")

    def ask(*arguments: str) -> str:
        try:
            return world.runner.run(Command(git, ("-C", str(world.root), *arguments), timeout=GIT_SECONDS)).text
        except CommandError as error:
            error.exit_code = ExitCode.INVALID  # nothing was changed, and nothing is to be before this is known
            raise

    dirty = ask("status", "--porcelain", "--", *DATA_FOLDERS).splitlines()
    if dirty:
        problems = tuple(Problem(f"not committed ({line[:2].strip()})", line[3:]) for line in dirty)
        return Conflict("the files of the cluster are not committed", problems=problems, remedy="git commit, git push")
    head = ask("rev-parse", "HEAD").strip()
    source = world.cluster.git
    remote = ask("ls-remote", source.url, source.ref).partition("\t")[0]
    if remote != head:
        return Conflict(
            f"{source.ref} of {source.url} is not what is checked out",
            cause=f"it is at {remote[:12] or 'nothing'}, the worktree is at {head[:12]}",
            remedy=f"git push {source.url} HEAD:{source.ref}",
        )
    return Done(f"{head[:12]}, checked out, committed and pushed", head)


def _commit_foreseen(world: World, _ctx: Context) -> Foreseen[None, str]:
    source = world.cluster.git
    summary = "the worktree's own commit" if world.cluster.virtual else f"{source.ref} of {source.url}"
    known_after = "" if world.cluster.virtual else "a look at the remote"
    return Foreseen(None, world.commit or "<commit>", done=True, known_after=known_after, summary=summary)


def _machines(world: World, ctx: Context) -> Found[None, Mapping[str, Seen]]:
    with ctx.outside("request"):
        seen = machines.see_machines(world, ctx.value(SECRETS))
    foreign = machines.in_state(seen, State.FOREIGN)
    if foreign:
        problems = tuple(Problem(f"{name}: {seen[name].detail}") for name in foreign)
        return Conflict(
            "machines are configured with the secrets of another cluster",
            problems=problems,
            remedy="check their addresses in the inventory; this tool never resets a machine that is not its own",
        )
    if not all(one.state in machines.ANSWERING for one in seen.values()):
        return ToDo(None, machines.describe(seen))
    with ctx.outside("request"):
        judged = machines.at_once(machines.present(world.cluster), partial(hardware.judge, world, seen))
    if any(judged.values()):
        problems = tuple(problem for found in judged.values() for problem in found)
        return Conflict(
            "machines are not as the inventory says, or not free to be installed",
            problems=problems,
            remedy=f"correct {world.cluster.source} or the machines; nothing was changed",
        )
    with ctx.outside("request"):
        unsynced = _unsynced(world, seen)
    if unsynced:
        servers = ", ".join(world.cluster.networks.time_servers)
        ctx.note(f"the clock is not in sync yet on {', '.join(unsynced)}; once configured they ask {servers}")
    return Done(f"{machines.describe(seen)}{machines.absence(world.cluster)}", seen)


def _unsynced(world: World, seen: Mapping[str, Seen]) -> list[str]:
    """The nodes in maintenance mode whose clocks follow no time server."""
    waiting = [world.cluster.node(name) for name in machines.in_state(seen, State.MAINTENANCE)]
    synced = machines.at_once(waiting, lambda node: world.talosctl.in_sync(str(node.maintenance_address), None))
    return [name for name, is_synced in synced.items() if not is_synced]


def _machines_foreseen(world: World, _ctx: Context) -> Foreseen[None, Mapping[str, Seen]]:
    seen = {node.name: Seen(State.MAINTENANCE, "in maintenance mode") for node in machines.present(world.cluster)}
    return Foreseen(None, seen, known_after="a look at the machines")


def _machines_gate(world: World, ctx: Context) -> Gate[Mapping[str, Seen]]:
    def check(_: Context) -> Observation[Mapping[str, Seen]]:
        seen = machines.see_machines(world, ctx.value(SECRETS))
        # Without a value the probe looks again, which judges what answers.
        return Observation(all(one.state in machines.ANSWERING for one in seen.values()), machines.describe(seen))

    return Gate(
        description="every machine to answer in maintenance mode or as one of this cluster",
        check=check,
        interval=machines.MACHINE_INTERVAL,
        timeout=machines.MACHINE_SECONDS,
        remedy="check power, cabling and the addresses in the inventory",
    )
