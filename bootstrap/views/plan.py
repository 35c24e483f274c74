"""A plan as text, JSON and Markdown; nothing but the plan decides what they hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bootstrap.engine.plan import Outlook
from bootstrap.engine.step import Changes
from bootstrap.views.encode import encode
from bootstrap.views.summary import duration
from bootstrap.views.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.engine.plan import Plan, PlannedAction, PlannedPhase, PlannedStep

# Raised when a reader of the last version would misread a plan.
SCHEMA_VERSION: Final = 1
# What an action does to whom, for a person.
_DOES: Final = {
    Changes.NOTHING: "reads",
    Changes.FILES: "files of our own",
    Changes.MACHINES: "writes to a machine",
    Changes.CLUSTER: "writes to the cluster",
}
_INDENT: Final = " " * 6


def as_text(plan: Plan) -> str:
    """For a person, one line for each thing."""
    lines = [headline(plan), f"target {_budget(plan.target, plan.deadline)}"]
    for phase in plan.phases:
        lines += ["", f"{_title(phase)}; target {_budget(phase.target, phase.deadline)}", f"  {_counted(phase)}"]
        for step in phase.steps:
            lines += _step_lines(step)
    return "".join(f"{line}\n" for line in lines)


def as_json(plan: Plan) -> str:
    """One JSON document: the records as they are, the counts and the exit code."""
    encoded = encode(plan)
    content = {
        "schema": SCHEMA_VERSION,
        "exit_code": int(plan.exit_code),
        "actions": {"all": plan.count(), **{changes.value: plan.count(changes) for changes in Changes}},
        **(encoded if isinstance(encoded, dict) else {}),
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def as_markdown(plan: Plan) -> str:
    """For the summary of a CI job."""
    lines = [f"## {_marked(headline(plan))}", ""]
    for failure in plan.failures:
        lines.append(f"- **{_marked(failure.fact)}**{_marked(f': {failure.cause}' if failure.cause else '')}")
        lines += [f"  - {_marked(str(problem))}" for problem in failure.problems]
    lines += ["", "| phase | actions | to machines | to the cluster | target |", "|---|--:|--:|--:|--:|"]
    for phase in plan.phases:
        cells = (
            _title(phase),
            str(phase.count()),
            str(phase.count(Changes.MACHINES)),
            str(phase.count(Changes.CLUSTER)),
            duration(phase.target),
        )
        lines.append(f"| {' | '.join(_marked(cell) for cell in cells)} |")
    for phase in plan.phases:
        lines += ["", f"### {_marked(phase.name)}"]
        for step in phase.steps:
            lines.append(f"- **{step.path.partition('/')[2]}**, {_marked(_outlook(step))}: {_marked(step.title)}")
            lines += [f"  - {_marked(line)}" for line in _details(step)]
    return "".join(f"{line}\n" for line in lines)


def headline(plan: Plan) -> str:
    """The plan in one line."""
    seen = "what a run would do in the world as it is" if plan.live else "what a run would do, from the files alone"
    if plan.failures:
        return f"{plan.cluster}: {seen}: refused for {_number(len(plan.failures), 'reason')}"
    return f"{plan.cluster}: {seen}: {_counted(plan)}"


def _counted(counted: Plan | PlannedPhase) -> str:
    machines, cluster = counted.count(Changes.MACHINES), counted.count(Changes.CLUSTER)
    return f"{_number(counted.count(), 'action')}, {machines} to machines, {cluster} to the cluster"


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _title(phase: PlannedPhase) -> str:
    return f"{phase.name}{'' if phase.number is None else f' (phase {phase.number})'}: {phase.title}"


def _budget(target: float, deadline: float) -> str:
    return f"{duration(target)}, deadline {duration(deadline)}"


def _step_lines(step: PlannedStep) -> Iterator[str]:
    yield f"  {step.path.partition('/')[2]:<16} {_outlook(step)}: {step.title}"
    for line in _details(step):
        yield _INDENT + line


def _outlook(step: PlannedStep) -> str:
    if not step.known_after:
        return str(step.outlook)
    outlook = "must be found done" if step.outlook is Outlook.DONE else str(step.outlook)
    return f"{outlook}, known after {step.known_after}"


def _details(step: PlannedStep) -> Iterator[str]:
    """What stands below a step: what was found, the actions, the wait."""
    if step.outlook is not Outlook.TO_DO or not step.actions:
        yield from (one_line(part) for part in step.text.split("; ") if part)
    for action in step.actions:
        yield from _action_lines(action)
    if step.gate:
        then = "then waits" if step.actions else "waits"
        yield f"{then} for {step.gate.description}, at most {duration(step.gate.seconds)}"


def _action_lines(action: PlannedAction) -> Iterator[str]:
    yield f"{action.index}. {action.description}"
    yield f"   {_DOES[action.changes]} ({action.kill_safety}), because {one_line(action.reason)}"
    for line in action.preview.splitlines():
        # The indentation of a difference says where it stands.
        yield f"   {' ' * (len(line) - len(line.lstrip(' ')))}{one_line(line)}"


def _marked(text: str) -> str:
    """A text that Markdown shows as it is: references of secrets look like HTML."""
    for special in "\\`*_|<>[]":
        text = text.replace(special, f"\\{special}")
    return text
