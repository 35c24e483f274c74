"""The words that ask for a plan; what they give is tested where charts can be served."""

from __future__ import annotations

import pytest

from tests.unit.cli.typed import invoke


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bootstrap --cluster lab --live", "next: add --dry-run"),
        ("bootstrap --cluster lab --dry-run --only crd", "nearest: crds"),
        ("bootstrap --cluster lba --dry-run", "nearest: lab"),
        ("--dry bootstrap --cluster lab", "nothing was run"),
    ],
)
def test_what_cannot_be_planned_is_refused_before_anything_starts(line: str, said: str) -> None:
    answer = invoke(*line.split())
    assert (answer.code, answer.stdout) == (3, "")
    assert said in answer.stderr
