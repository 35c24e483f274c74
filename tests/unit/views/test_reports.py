"""Every report is a function of `report.json` alone."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, cast
from xml.etree import ElementTree as ET

import pytest

from bootstrap.host.errors import InputError
from bootstrap.views.junit import junit
from bootstrap.views.markdown import markdown
from bootstrap.views.report import RENDERINGS, as_json
from bootstrap.views.schema import FORMS, again, json_schema, load
from bootstrap.views.timeline import timeline

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from bootstrap.views.document import Report, StepReport

ROOT = Path(__file__).parents[3]
FIXTURES = sorted((ROOT / "tests" / "fixtures" / "reports").glob("*.json"))
# Elements of HTML that have no end (html.spec.whatwg.org, void elements).
VOID = {"meta", "br"}
HOSTILE = "</td></pre><script>alert(1)</script>\x1b[31m\x00 | `x` **b** &amp; ]]> \ud800"


@pytest.fixture(params=FIXTURES, ids=lambda path: str(path.stem))
def report(request: pytest.FixtureRequest) -> Report:
    return load(request.param)


@pytest.fixture
def hostile() -> Report:
    """The report of a failed run in which every text that others wrote is hostile."""

    def spoilt(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(spoilt(each) for each in value)
        if isinstance(value, dict):
            return {key: spoilt(each) for key, each in value.items()}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return dataclasses.replace(value, **{name: spoilt(each) for name, each in fields.items()})
        return HOSTILE if type(value) is str else value

    return cast("Report", spoilt(load(ROOT / "tests" / "fixtures" / "reports" / "failed.json")))


class Outline(HTMLParser):
    """What a browser would see: every element closed, texts, and places that lead elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.texts: list[str] = []
        self.leading: list[str] = []
        self.styles: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.leading += [name for name, _ in attrs if name in {"src", "href", "srcset", "action"} or name[:2] == "on"]
        self.styles += [value or "" for name, value in attrs if name == "style"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 # our own text


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: str(path.stem))
def test_a_report_read_back_is_the_same(path: Path) -> None:
    assert as_json(load(path)) == path.read_text()


def test_the_published_schema_is_that_of_the_records() -> None:
    published = (ROOT / "docs" / "reference" / "report.schema.json").read_text()
    assert published == json_schema(), "run ./invoke docs"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "`schema`"),
        ({"phases": None}, "`phases`"),
        ({"seconds": "long"}, "`seconds`"),
        ({"state": "fine"}, "`state`"),
    ],
)
def test_another_form_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**json.loads(FIXTURES[0].read_text()), **change}))
    with pytest.raises(InputError, match="is no report of version 1") as raised:
        load(path)
    assert said in str(raised.value)


def test_a_report_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load(tmp_path / "report.json")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The runs of a cluster: three with a report, one that was killed before it had one."""
    for name, path in zip(("1-aa", "2-bb", "3-cc"), FIXTURES, strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(path.read_text())
    (tmp_path / "4-dd").mkdir()
    return tmp_path


@pytest.mark.parametrize(("form", "name"), FORMS.items())
def test_a_report_is_shown_again(runs: Path, form: str, name: str) -> None:
    assert again(runs, "2-bb", form) == RENDERINGS[name](load(FIXTURES[1]))


def test_the_latest_report_is_shown_by_default(runs: Path) -> None:
    assert again(runs, "", "md") == markdown(load(FIXTURES[2]))


@pytest.mark.parametrize(
    ("run", "form", "said"),
    [
        ("2-bc", "md", '--run "2-bc": no report of it; nearest: 2-bb'),
        ("4-dd", "md", '--run "4-dd": no report of it'),
        ("", "pdf", '--format "pdf": there is none; known: html, junit, md'),
    ],
)
def test_what_cannot_be_shown_is_refused_with_what_can(runs: Path, run: str, form: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        again(runs, run, form)
    assert said in str(raised.value)


def test_before_the_first_run_there_is_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no report of a run yet"):
        again(tmp_path / "runs", "", "md")


def test_markdown(report: Report, snapshot: SnapshotAssertion) -> None:
    assert markdown(report) == snapshot


def test_junit(report: Report, snapshot: SnapshotAssertion) -> None:
    assert junit(report) == snapshot


def test_junit_counts_what_it_holds(report: Report) -> None:
    root = parsed(junit(report))
    assert [suite.get("name") for suite in root] == [phase.name for phase in report.phases]
    for holder in (root, *root):
        cases = list(holder.iter("testcase"))
        assert holder.get("tests") == str(len(cases))
        for kind, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert holder.get(kind) == str(sum(case.find(element) is not None for case in cases))


def test_a_bug_is_an_error_in_junit(report: Report) -> None:
    phases = tuple(
        dataclasses.replace(phase, steps=tuple(_with_bug(step) for step in phase.steps)) for phase in report.phases
    )
    root = parsed(junit(dataclasses.replace(report, phases=phases)))
    assert root.get("failures") == "0"
    assert root.get("errors") == str(len(list(root.iter("error"))))


def _with_bug(step: StepReport) -> StepReport:
    if step.failure is None:
        return step
    return dataclasses.replace(step, failure=dataclasses.replace(step.failure, unexpected=True))


def test_the_timeline_stands_alone(report: Report) -> None:
    page = timeline(report)
    outline = Outline(page)
    assert not outline.open
    assert not outline.leading
    assert not {"script", "link", "img", "iframe", "svg"} & outline.seen
    assert not re.search(r"url\(|@import|https?://", page)
    assert "prefers-color-scheme: dark" in page


def test_the_timeline_says_in_words_what_it_draws(report: Report) -> None:
    said = " ".join(" ".join(Outline(timeline(report)).texts).split())
    for phase in report.phases:
        assert phase.title in said
        for step in phase.steps:
            assert step.title in said
            assert all(action.description in said for action in step.actions)
            assert all(f"for {wait.description}" in said for wait in step.waits)
            assert all(proof.criterion in said for proof in step.proofs)
    assert all(failure.fact in said for failure in report.failures)


def test_nothing_of_the_picture_lies_outside(report: Report) -> None:
    for style in Outline(timeline(report)).styles:
        shares = [float(share) for share in re.findall(r"([\d.-]+)%", style)]
        assert all(share >= 0 for share in shares), style
        # The last step may end a moment after the run's time was taken.
        assert sum(shares) <= 100.5, style


@pytest.mark.parametrize("name", RENDERINGS)
def test_a_report_is_made_of_anything_that_others_wrote(name: str, hostile: Report) -> None:
    text = RENDERINGS[name](hostile)
    text.encode()
    assert "\x1b" not in text
    assert "\x00" not in text


def test_nothing_that_others_wrote_becomes_an_element(hostile: Report) -> None:
    outline = Outline(timeline(hostile))
    assert not outline.open
    assert "script" not in outline.seen
    parsed(junit(hostile))


def test_nothing_that_others_wrote_breaks_a_table(hostile: Report) -> None:
    tables = [line for line in markdown(hostile).splitlines() if line.startswith("|")]
    assert tables
    assert all(re.fullmatch(r"\|([^|\\]|\\.)*(\|([^|\\]|\\.)*)*\|", line) for line in tables)
    assert not any("<script" in line for line in tables)
    for before, line in itertools.pairwise(tables):
        if line.startswith("|---"):
            assert before.count("|") == line.count("|")
