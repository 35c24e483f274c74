"""`junit.xml`: a run as CI systems show test results; a function of the report alone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring  # nothing is parsed here

from bootstrap.engine.machine import State
from bootstrap.views.failure import failure_lines
from bootstrap.views.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bootstrap.views.document import PhaseReport, Report, StepReport


def junit(report: Report) -> str:
    """One testsuite a phase, one testcase a step; an aborted step counts as skipped, a bug as an error."""
    root = Element("testsuites", name=one_line(f"{report.cluster} {report.run}"), time=_time(report.seconds))
    _count(root, [step for phase in report.phases for step in phase.steps])
    for phase in report.phases:
        _suite(root, phase, report)
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _suite(root: Element, phase: PhaseReport, report: Report) -> None:
    suite = SubElement(
        root, "testsuite", name=one_line(phase.name), time=_time(phase.seconds), timestamp=one_line(report.started[:19])
    )
    _count(suite, list(phase.steps))
    properties = {
        "cluster": report.cluster,
        "run": report.run,
        "mark": report.mark,
        "state": phase.state,
        "target_seconds": _time(phase.target_seconds),
        "slack_seconds": _time(phase.slack_seconds),
    }
    _properties(suite, properties.items())
    for step in phase.steps:
        _case(suite, step, f"{report.cluster}.{phase.name}")


def _case(suite: Element, step: StepReport, classname: str) -> None:
    case = SubElement(
        suite, "testcase", name=one_line(step.path), classname=one_line(classname), time=_time(step.seconds)
    )
    _properties(case, _facts(step))
    if step.failure:
        kind = "error" if step.failure.unexpected else "failure"
        code = f"exit code {int(step.failure.exit_code)}"
        failed = SubElement(case, kind, type=code, message=one_line(step.failure.fact))
        failed.text = "\n".join(failure_lines(step.failure))
    elif step.state is not State.DONE:
        SubElement(case, "skipped", message=one_line(f"{step.state}: {step.reason}"))


def _facts(step: StepReport) -> Iterator[tuple[str, str]]:
    yield "title", step.title
    if step.state is State.DONE:
        yield "evidence", step.reason
    for action in step.actions:
        yield "action", f"{action.description}: {action.error or 'done'} in {_time(action.seconds)} s"
    for wait in step.waits:
        yield "wait", f"{wait.description}: {wait.seen} after {_time(wait.seconds)} s"
    for proof in step.proofs:
        yield f"proof: {proof.kind}", f"{proof.criterion}: {proof.evidence}"


def _count(element: Element, steps: list[StepReport]) -> None:
    unexpected = sum(step.failure is not None and step.failure.unexpected for step in steps)
    element.set("tests", str(len(steps)))
    element.set("failures", str(sum(step.failure is not None for step in steps) - unexpected))
    element.set("errors", str(unexpected))
    element.set("skipped", str(sum(step.failure is None and step.state is not State.DONE for step in steps)))


def _properties(element: Element, facts: Iterable[tuple[str, str]]) -> None:
    properties = SubElement(element, "properties")
    for name, value in facts:
        if value:
            SubElement(properties, "property", name=name, value=one_line(value))


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"
