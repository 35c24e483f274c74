"""Fault 56: planted secrets are nowhere, whatever goes wrong; every other scenario looks for them too."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.scripted import canaries, invariants

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scripted.conftest import Make


def test_the_search_finds_what_is_there(make: Make) -> None:
    scenario = make()
    (scenario.place / "leak").write_text(f"x{(scenario.store / 'token').read_text()[:12]}x")
    with pytest.raises(AssertionError, match="I4"):
        invariants.no_secrets(scenario)


def test_a_whole_run_with_every_view_says_none(make: Make, wanted: list[Any]) -> None:
    scenario = make()
    ran = scenario.run(report=True, request={"output": "json"})
    assert (ran.said / "stdout").stat().st_size > 0
    assert list(scenario.root.rglob("report.json"))
    invariants.check(scenario, wanted, ran)


@pytest.mark.parametrize("form", [str, lambda token: base64.b64encode(token.encode()).decode(), quote])
def test_a_child_that_prints_one_is_masked(form: Any, make: Make, store: Path) -> None:
    scenario = make()
    token = (store / "token").read_text().strip()
    scenario.tell("helm fails", f"Error: Kubernetes said: invalid token {form(token)} of Secret")
    ran = scenario.run(report=True, request={"output": "json"})
    assert ran.exit_code == 1, ran.stderr
    assert "invalid token [redacted] of Secret" in ran.stderr
    invariants.no_secrets(scenario)


def test_every_form_is_looked_for(store: Path) -> None:
    token = (store / "token").read_text().strip()
    needles = canaries.canaries(store)
    wanted = {token, base64.b64encode(token.encode()).decode(), quote(token, safe=""), token[:12], token[-12:]}
    assert wanted <= needles.keys()
    assert len(set(needles.values())) >= 10
