"""`report.json` at the edge: its published JSON schema, reading one back, and showing it again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bootstrap.host.errors import InputError, Problem
from bootstrap.host.names import nearest
from bootstrap.views.document import SCHEMA_VERSION, Report
from bootstrap.views.report import RENDERINGS

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import TypeAdapter

# What a person calls a rendering, and its file.
FORMS: Final = {"md": "report.md", "junit": "junit.xml", "html": "timeline.html"}


def load(path: Path) -> Report:
    """Read a report back.

    Raises:
        InputError: it is not there, or is no report of this version.
    """
    from pydantic import ValidationError

    try:
        return _adapter().validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read", cause=error.strerror or "") from None
    except ValidationError as error:
        problems = tuple(
            Problem(f"`{'.'.join(str(part) for part in detail['loc'])}`: {detail['msg']}", str(path))
            for detail in error.errors(include_url=False, include_input=False)
        )
        raise InputError(f"{path} is no report of version {SCHEMA_VERSION}", problems) from None


def again(runs: Path, run: str, form: str) -> str:
    """A run's report in another form.

    Args:
        runs: the folder that has a folder for each run.
        run: its id; empty means the latest that has a report.
        form: one of `FORMS`.

    Raises:
        InputError: there is no such run or form, with the nearest; or what `load` refuses.
    """
    there = sorted(path.parent.name for path in runs.glob("*/report.json"))
    problems = []
    if form not in FORMS:
        problems.append(Problem(f'--format "{form}": there is none; {nearest(form, FORMS)}'))
    if run and run not in there:
        problems.append(Problem(f'--run "{run}": no report of it; {nearest(run, there)}'))
    if problems:
        raise InputError("the report cannot be shown", tuple(problems))
    if not there:
        raise InputError(f"there is no report of a run yet in {runs}")
    return RENDERINGS[FORMS[form]](load(runs / (run or there[-1]) / "report.json"))


def json_schema() -> str:
    """The JSON schema, as the text of `docs/reference/report.schema.json`."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_adapter().json_schema()}
    return json.dumps(schema, indent=2) + "\n"


def _adapter() -> TypeAdapter[Report]:
    # Late: pydantic takes 130 ms to import, and a run only writes reports.
    from pydantic import TypeAdapter

    return TypeAdapter(Report)
