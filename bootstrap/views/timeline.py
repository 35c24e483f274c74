"""`timeline.html`: what took how long, against which target, and whose time it was; a function of the report alone.

One file without script or anything from elsewhere, for light and dark screens, telephones and paper. Bars are boxes
placed in percent of the run's time; what they show stands in the tables below them as well.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.views.failure import failure_lines
from bootstrap.views.summary import changes, duration, headline, late, overrun, proof_counts, slack, usually
from bootstrap.views.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bootstrap.views.document import PhaseReport, Report, StepReport

# Seconds between two marks of the axis: what a clock's face has.
TICKS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
# More marks than this and their labels run into each other on a telephone.
MOST_TICKS: Final = 6
LEGEND: Final = {
    "step": "reading, and all else",
    "action": "acting",
    "wait": "waiting for others",
    "ours": "our own time in it",
    "failed": "failed",
    "target": "target",
    "deadline": "deadline",
}


def timeline(report: Report) -> str:
    """The page."""
    style = Path(__file__).with_name("timeline.css").read_text()
    title = _text(f"{report.cluster} {report.run}")
    body = "\n".join(_body(report))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _body(report: Report) -> Iterator[str]:
    yield f'<header class="{report.state}">'
    if report.mark:
        yield f'<p class="mark">{_text(report.mark)}</p>'
    yield f"<h1>{_text(headline(report))}</h1>"
    yield f"<p>run {_text(report.run)}, begun {_text(report.started)}<br><code>{_text(report.command)}</code></p>"
    yield "</header>\n<main>"
    yield from _failures(report)
    yield from _numbers(report)
    yield from _chart(report)
    yield from _steps(report)
    yield from _lists(report)
    yield "</main>"


def _failures(report: Report) -> Iterator[str]:
    for failure in report.failures:
        lines = "\n".join(failure_lines(failure))
        yield f'<pre class="failure">{_escaped(lines)}</pre>'


def _numbers(report: Report) -> Iterator[str]:
    others = max(0.0, report.seconds - report.ours_seconds)
    outside = ", ".join(f"{kind} {duration(seconds)}" for kind, seconds in report.outside_seconds.items())
    facts = [
        ("time", duration(report.seconds), f"target {duration(report.target_seconds)}, {slack(report)}"),
        ("own time", duration(report.ours_seconds), "nothing was outstanding elsewhere"),
        ("waiting for others", duration(others), f"summed over threads: {outside}" if outside else ""),
        ("writes", str(report.writes), "none is made where everything is found done"),
        ("proofs", str(sum(report.proofs.values())), proof_counts(report.proofs)),
    ]
    yield '<dl class="numbers">'
    for name, value, remark in facts:
        yield f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd><dd>{_text(remark)}</dd></div>"
    yield "</dl>"


def _chart(report: Report) -> Iterator[str]:
    whole = max(report.seconds, 1.0)
    tick = next((each for each in TICKS if whole / each <= MOST_TICKS), TICKS[-1])
    yield '<h2>Time</h2>\n<ul class="legend">'
    yield from (f'<li><i class="{kind}"></i>{text}</li>' for kind, text in LEGEND.items())
    yield f'</ul>\n<section class="chart" style="--tick:{_share(tick, whole)}">'
    yield '<div class="row axis"><span></span><div class="track">'
    for number in range(int(whole // tick) + 1):
        yield f'<span style="left:{_share(number * tick, whole)}">{_clock(number * tick)}</span>'
    yield "</div><span></span></div>"
    limits = (report.target_seconds, report.deadline_seconds)
    yield _row("whole run", "run", _bar("phase", 0.0, report.seconds, whole), late(report), limits=limits, whole=whole)
    for phase in report.phases:
        yield from _phase(phase, whole)
    yield "</section>"


def _phase(phase: PhaseReport, whole: float) -> Iterator[str]:
    if phase.began_seconds is None:
        yield _row(phase.name, f"phase {phase.state}", "", "not begun")
    else:
        limits = tuple(
            phase.began_seconds + limit for limit in (phase.target_seconds, phase.deadline_seconds) if limit is not None
        )
        bar = _bar(f"phase {phase.state}", phase.began_seconds, phase.seconds, whole)
        yield _row(phase.name, f"phase {phase.state}", bar, late(phase), limits=limits, whole=whole)
        if phase.over_target:
            yield f'<p class="overrun">{_text(overrun(phase))}</p>'
    for step in phase.steps:
        if step.began_seconds is not None:
            bars = "".join(_bars(step, step.began_seconds, whole))
            yield _row(step.path.partition("/")[2], f"step {step.state}", bars, duration(step.seconds))


def _bars(step: StepReport, start: float, whole: float) -> Iterator[str]:
    yield _bar(f"step {step.state}", start, step.seconds, whole, step.reason)
    for action in step.actions:
        kind = "action failed" if action.error else "action"
        yield _bar(kind, action.began_seconds, action.seconds, whole, f"{action.description}: {action.reason}")
    for wait in step.waits:
        said = f"waited {duration(wait.seconds)} for {wait.description}: {wait.seen}"
        yield _bar("wait" if wait.held else "wait failed", wait.began_seconds, wait.seconds, whole, said)
        if wait.ours_seconds:
            # What is ours comes last: from the condition becoming visible to the end.
            began = wait.began_seconds + wait.seconds - wait.ours_seconds
            yield _bar("ours", began, wait.ours_seconds, whole, "our own time in it")


def _row(
    name: str, kind: str, bars: str, remark: str, *, limits: Iterable[float | None] = (), whole: float = 1.0
) -> str:
    marks = "".join(
        f'<i class="{mark}" style="left:{_share(limit, whole)}"></i>'
        for mark, limit in zip(("target", "deadline"), limits, strict=False)
        if limit is not None and limit <= whole
    )
    return (
        f'<div class="row {kind}"><span>{_text(name)}</span><div class="track">{bars}{marks}</div>'
        f"<span>{_text(remark)}</span></div>"
    )


def _bar(kind: str, began: float, seconds: float, whole: float, title: str = "") -> str:
    place = f"left:{_share(began, whole)};width:{_share(seconds, whole)}"
    return f'<b class="{kind}" style="{place}" title="{_text(title)}"></b>'


def _steps(report: Report) -> Iterator[str]:
    yield '<h2>Steps</h2>\n<div class="wide"><table>'
    yield "<thead><tr><th>step</th><th>state</th><th>began</th><th>time</th>"
    yield "<th>what was done and seen</th></tr></thead>"
    for phase in report.phases:
        yield f'<tbody><tr class="phase"><th colspan="3">{_text(f"{phase.name}: {phase.title}")}</th>'
        yield f'<td colspan="2">{_text(late(phase) if phase.began_seconds is not None else "not begun")}</td></tr>'
        for step in phase.steps:
            began = "-" if step.began_seconds is None else f"at {duration(step.began_seconds)}"
            yield f'<tr><th scope="row">{_text(step.path.partition("/")[2])}<br><small>{_text(step.title)}</small></th>'
            yield f'<td class="{step.state}">{step.state}</td><td>{_text(began)}</td><td>{_text(_time(step))}</td>'
            yield f"<td>{_text(step.reason)}{''.join(_details(step))}</td></tr>"
        yield "</tbody>"
    yield "</table></div>"


def _details(step: StepReport) -> Iterator[str]:
    lines = [
        *(f"{each.description}, {duration(each.seconds)}: {each.error or each.reason}" for each in step.actions),
        *(_waited(step)),
    ]
    if lines:
        yield f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


def _waited(step: StepReport) -> Iterator[str]:
    for wait in step.waits:
        usual = usually(wait.usual_seconds)
        yield (
            f"waited {duration(wait.seconds)} of {duration(wait.limit_seconds)} for {wait.description}"
            f"{usual}, {duration(wait.ours_seconds)} of it ours: {wait.seen}"
        )


def _lists(report: Report) -> Iterator[str]:
    proofs = [proof for phase in report.phases for step in phase.steps for proof in step.proofs]
    if proofs:
        yield '<h2>Proofs</h2>\n<div class="wide"><table>'
        yield "<thead><tr><th>criterion</th><th>how</th><th>what was seen</th></tr></thead><tbody>"
        for proof in proofs:
            yield f'<tr><th scope="row">{_text(proof.criterion)}</th><td class="{proof.kind}">{proof.kind}</td>'
            yield f"<td>{_text(proof.evidence)}</td></tr>"
        yield "</tbody></table></div>"
    facts = [
        *((kind, value) for kind, value in report.identity.items()),
        *((f"files of {step}", changes(files)) for step, files in report.changed_inputs.items()),
        *((f"{duration(note.seconds)} {note.step}", note.text) for note in report.notes),
    ]
    yield '<h2>Notes</h2>\n<dl class="facts">'
    yield from (f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts if value)
    yield "</dl>"


def _time(part: PhaseReport | StepReport) -> str:
    return "-" if part.began_seconds is None else duration(part.seconds)


def _share(seconds: float, whole: float) -> str:
    return f"{100 * seconds / whole:.3f}%"


def _clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"


def _text(text: str) -> str:
    return _escaped(one_line(text))


def _escaped(text: str) -> str:
    return escape(text, quote=True)
