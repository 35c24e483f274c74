"""The phase `handover`: proof that Flux runs the cluster from Git, and that taking over changed nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bootstrap.engine import Conflict, Context, Done, Foreseen, Found, Phase, Step
from bootstrap.engine.proof import Proof
from bootstrap.host.errors import ExitCode, Problem
from gitops.validate import validate
from kube.cluster import CUSTOM_RESOURCE_DEFINITION
from phases import adoption, criteria, sources
from phases.refs import API, FILES, LAST

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from kube.cluster import Cluster
    from phases.world import World


def phase(world: World) -> Phase:
    """The phase `handover`."""
    budget = world.cluster.budgets["handover"]
    return Phase(
        name="handover",
        title="Prove the hand-over to Flux",
        number=3,
        target=budget.target,
        deadline=budget.deadline,
        steps=(
            *(criteria.step_of(world, criterion) for criterion in criteria.criteria()),
            Step(
                name="manifests",
                title="The tree builds and every object fits its schema",
                probe=partial(_manifests, world),
                foresee=lambda _: Foreseen(None, None, known_after=LAST.name, done=True),
                needs=criteria.NEEDS,
                reads=(FILES.name, API.name),
                inputs=sources.tree(world.cluster),
            ),
            *adoption.steps(world),
        ),
    )


def _openapi(ctx: Context, api: Cluster, versions: frozenset[str]) -> Object:
    with ctx.outside("request"):
        return api.openapi(versions)


def _manifests(world: World, ctx: Context) -> Found[None, None]:
    api = ctx.value(API).api
    with ctx.outside("request"):
        definitions = api.list_objects(CUSTOM_RESOURCE_DEFINITION)
    result = validate(
        ctx.value(FILES), runner=world.runner, kubeconform=world.programs["kubeconform"],
        openapi=partial(_openapi, ctx, api), definitions=definitions,
    )  # fmt: skip
    if not result.holds:
        problems = result.problems or (Problem("nothing was checked", world.cluster.git.path),)
        return Conflict("the tree does not fit its schemas", problems=problems, exit_code=ExitCode.FAILED)
    return Done(result.seen, None, (Proof("kustomize build and kubeconform are clean", result.seen),))
