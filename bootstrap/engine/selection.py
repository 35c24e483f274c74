"""Which steps of a run the operator asked for."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.host.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bootstrap.engine.graph import Graph


@dataclass(frozen=True)
class Selection:
    """What is done with each step; paths that stand in neither set are skipped unseen.

    Attributes:
        acting: probed and, where there is something to do, acted on.
        probing: probed only, because a step in `acting` needs them.
    """

    acting: frozenset[str]
    probing: frozenset[str]


def everything(graph: Graph) -> Selection:
    """All steps."""
    return Selection(frozenset(graph.nodes), frozenset())


def select(graph: Graph, *, only: Sequence[str] = (), start: str = "", skip: Sequence[str] = ()) -> Selection:
    """Read the names of `--only`, `--from` and `--skip`.

    A name is a phase, a step, or `phase/step`; a phase goes before a step of the same name.

    Args:
        graph: what there is.
        only: nothing but these; empty means all.
        start: this and what stands after it in the list; empty means from the beginning.
        skip: not these.

    Raises:
        InputError: names that mean nothing, all at once, each with the nearest that do; or nothing is left.
    """
    problems: list[Problem] = []
    paths = tuple(graph.nodes)
    chosen = set(paths)
    if only:
        chosen &= {path for name in only for path in _meant(graph, name, "--only", problems)}
    if start:
        first = _meant(graph, start, "--from", problems)
        chosen &= set(paths[paths.index(first[0]) :]) if first else set()
    chosen -= {path for name in skip for path in _meant(graph, name, "--skip", problems)}
    if problems:
        raise InputError(
            "the selection names what is not there",
            tuple(problems),
            remedy=f"the phases are: {', '.join(phase.name for phase in graph.phases)}",
        )
    if not chosen:
        raise InputError("the selection leaves nothing to do", remedy="drop one of --only, --from and --skip")
    needed = frozenset(before for path in chosen for before in graph.nodes[path].needs)
    return Selection(frozenset(chosen), needed - chosen)


def names(graph: Graph) -> tuple[str, ...]:
    """Every name that `select` understands, for completion and help."""
    found: dict[str, None] = {}
    for phase in graph.phases:
        found[phase.name] = None
        for step in phase.steps:
            found[step.name] = None
            found[graph.path(step.name)] = None
    return tuple(found)


def _meant(graph: Graph, name: str, option: str, problems: list[Problem]) -> tuple[str, ...]:
    for phase in graph.phases:
        if phase.name == name:
            paths = tuple(node.path for node in graph.steps_of(phase))
            if not paths:
                problems.append(Problem(f"{option}: the phase `{name}` has no steps"))
            return paths
    found = tuple(path for path, node in graph.nodes.items() if name in (path, node.step.name))
    if not found:
        problems.append(Problem(f"{option}: `{name}` is no phase or step{_nearest(name, names(graph))}"))
    return found


def _nearest(name: str, known: Iterable[str]) -> str:
    # A path is meant by who types a slash, and by nobody else.
    alike = tuple(each for each in known if ("/" in each) == ("/" in name))
    # Half alike: catches a slip of the finger and a missing syllable, not another word.
    close = difflib.get_close_matches(name, alike, n=3, cutoff=0.5)
    return f"; nearest: {', '.join(close)}" if close else ""
