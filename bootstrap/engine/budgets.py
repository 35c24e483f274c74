"""Budgets judged: what made a phase as long as it was, and who owns a missed target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.engine.machine import State
from bootstrap.engine.verdict import ActionRecord, Failure, Share, StepResult, Verdict, WaitRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Seconds; less between two steps is the turn of a thread and would only hide the rest.
SHORTEST_GAP: Final = 0.001


def missed_targets(verdict: Verdict) -> tuple[Failure, ...]:
    """A failure for each phase, and for the run, that was done but took longer than its target."""
    missed = [(f"phase {one.name}", one) for one in verdict.phases if one.state is State.DONE and one.over_target]
    found = [_missed(name, phase.seconds, phase.target, phase.owner) for name, phase in missed]
    if verdict.state is State.DONE and verdict.over_target:
        found.append(_missed("the run", verdict.seconds, verdict.target, verdict.owner))
    return tuple(found)


def _missed(name: str, seconds: float, target: float, owner: Share | None) -> Failure:
    cause = f"most of it was {owner.step}, {owner.what}: {owner.seconds:.0f} s" if owner else ""
    fact = f"{name} missed its target of {target:.0f} s: it took {seconds:.0f} s"
    return Failure(fact, cause, "look at the timeline of the report, or give the inventory another target")


def critical_path(
    phase: Sequence[StepResult], steps: Mapping[str, StepResult], needs: Mapping[str, frozenset[str]], began: float
) -> tuple[Share, ...]:
    """The parts that, one after the other, fill the time from a phase's start to the end of its last step.

    A step starts when the last of those that it needs has ended, so the chain goes back along those.

    Args:
        phase: the steps of the phase.
        steps: all steps of the run by path.
        needs: for each step the paths that it needs.
        began: when the phase began, seconds since the start of the run.
    """
    parts: list[Share] = []
    step = max((one for one in phase if one.began is not None), key=_end, default=None)
    while step is not None and step.began is not None:
        parts[:0] = _parts(step, step.began, began)
        start = step.began
        before = [one for path in needs[step.path] if (one := steps[path]).began is not None]
        previous = max(before, key=_end, default=None)
        since = began if previous is None else max(began, _end(previous))
        if start - since >= SHORTEST_GAP:
            parts.insert(0, Share(step.path, "coming to its turn", start - since, start - since))
        step = previous if previous is not None and start > began and _end(previous) > began else None
    return tuple(parts)


def _end(step: StepResult) -> float:
    return (step.began or 0.0) + step.seconds


def _parts(step: StepResult, start: float, phase_began: float) -> Iterator[Share]:
    """A step's own reading, its actions and its gates; of a step that began before the phase only what lies in it."""
    actions = [(one.began, one.began + one.seconds) for one in step.actions]
    records: list[ActionRecord | WaitRecord] = list(step.actions)
    # A wait inside an action is part of that action.
    records += [one for one in step.waits if not any(begin <= one.began < end for begin, end in actions)]
    shares = [Share(step.path, _what(one), *_within(one.began, one.seconds, one.ours, phase_began)) for one in records]
    seconds, ours = _within(start, step.seconds, step.ours, phase_began)
    looking = seconds - sum(share.seconds for share in shares)
    own = ours - sum(share.ours for share in shares)
    yield Share(step.path, "looking", max(0.0, looking), min(max(0.0, own), max(0.0, looking)))
    yield from (share for share in shares if share.seconds > 0)


def _within(start: float, seconds: float, ours: float, phase_began: float) -> tuple[float, float]:
    """The seconds that lie in the phase; of ours as many as fit, because when they were is not known."""
    inside = max(0.0, start + seconds - max(start, phase_began))
    return inside, min(ours, inside)


def _what(record: ActionRecord | WaitRecord) -> str:
    return f"waiting for {record.description}" if isinstance(record, WaitRecord) else record.description
