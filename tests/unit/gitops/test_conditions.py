"""What a condition of Flux means for whoever waits, by the table in fixtures/flux/conditions.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.errors import ExitCode
from bootstrap.host.objects import mapping, number, sequence, text
from gitops.conditions import RULES, masked, rule_for, trouble

if TYPE_CHECKING:
    from bootstrap.host.objects import Object

FILE = Path(__file__).parents[2] / "fixtures" / "flux" / "conditions.yaml"
ROWS = [mapping(row) for row in sequence(yaml_io.load(FILE.read_bytes(), source=FILE.name))]
GENERATION = 2


def told(row: Object) -> Object:
    """An object that says what the row has."""
    about = {"reason": text(row, "reason"), "message": text(row, "message")}
    written = number(row, "generation") or GENERATION
    return {
        "apiVersion": "x.fluxcd.io/v1", "kind": row["kind"],
        "metadata": {"name": "a", "namespace": "b", "generation": GENERATION},
        "status": {
            "conditions": [
                {"type": "Ready", "status": "False", "observedGeneration": written, **about},
                *({"type": name, "status": "True", **about} for name in sequence(row, "also")),
            ]
        },
    }  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['kind']} {row['reason']}: {row['message']}"[:70])
def test_a_condition_ends_the_wait_or_is_waited_for(row: Object) -> None:
    found = trouble(told(row))
    assert found is not None
    rule = rule_for(text(row, "kind"), text(row, "reason"), text(row, "message"))
    if not row.get("mended_by"):
        assert found.conflict is None
        assert not row["means"] or (rule is not None and rule.means == row["means"])
        return
    assert found.conflict is not None
    assert found.conflict.fact in {f"{row['kind']} b/a: {row['means']}", f"{row['kind']} b/a {row['means']}"}
    assert found.conflict.cause == masked(f"{row['reason']}: {row['message']}")
    assert found.conflict.remedy.startswith(text(row, "mended_by"))
    assert found.conflict.exit_code is ExitCode.FAILED


def test_every_row_of_the_table_is_shown_by_a_condition() -> None:
    shown = {rule_for(text(row, "kind"), text(row, "reason"), text(row, "message")) for row in ROWS}
    assert [rule for rule in RULES if rule not in shown] == []


def test_what_is_suspended_does_not_get_on() -> None:
    item: Object = {**told(ROWS[0]), "spec": {"suspend": True}}
    found = trouble(item)
    assert found is not None
    assert found.conflict is not None
    assert found.conflict.fact == "GitRepository b/a is suspended"
    assert found.conflict.remedy.startswith("kubectl -n b patch gitrepository.x.fluxcd.io/a --type merge -p")


def test_credentials_in_a_message_are_not_repeated() -> None:
    row: Object = {"kind": "GitRepository", "reason": "GitOperationFailed"}
    found = trouble(told({**row, "message": "clone\nhttps://me:hunter2@host/x: authentication required"}))
    assert found is not None
    assert found.conflict is not None
    assert "hunter2" not in f"{found}"
    assert "https://[redacted]@host/x" in found.conflict.cause
