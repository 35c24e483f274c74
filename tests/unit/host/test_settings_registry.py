"""The registry is complete: what the code reads and what the command line offers stands in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tasks
from bootstrap.host.settings import INTERNAL, REGISTRY, AnySetting
from phases import reference

ROOT = Path(__file__).parents[3]
VARIABLE = re.compile(r"\bFIRSTLIGHT_[A-Z_]*[A-Z]\b")
CODE = ("bootstrap", "gitops", "inventory", "kube", "phases", "rehearsal", "talos", "lab", "docs", ".ci")
# Of `bootstrap` and the other commands that run phases: each of their options is a setting.
RUNNING = ("bootstrap", "handover", "config")


def options(task: str) -> set[str]:
    arguments = tasks.namespace[task].get_arguments()
    return {name.rstrip("_") for argument in arguments for name in argument.names if len(name) > 1}


def test_no_two_settings_share_a_name_a_variable_or_a_key() -> None:
    for spelling in ("name", "variable", "key"):
        names = [getattr(setting, spelling) for setting in REGISTRY]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("setting", REGISTRY, ids=lambda setting: setting.name)
def test_a_setting_is_in_order(setting: AnySetting) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", setting.name)
    assert setting.variable not in INTERNAL
    assert setting.help
    assert "\n" not in setting.help
    if callable(setting.default):
        assert setting.shown, "the page cannot show a function"
    elif setting.default != "":
        assert setting.kind.read(str(setting.default)) == setting.default


def test_every_variable_of_ours_in_the_code_is_a_setting_or_internal() -> None:
    files = [ROOT / "tasks.py", ROOT / "invoke", ROOT / "README.md"]
    files += [path for folder in CODE for path in (ROOT / folder).rglob("*") if path.is_file()]
    known = {setting.variable for setting in REGISTRY} | INTERNAL
    found = {
        (name, str(path.relative_to(ROOT)))
        for path in files
        if path.suffix != ".pyc"
        for name in VARIABLE.findall(path.read_text(errors="replace"))
    }
    assert found, "the search finds nothing at all"
    assert not [each for each in sorted(found) if each[0] not in known], "add it to bootstrap/host/settings.py"


@pytest.mark.parametrize("task", RUNNING)
def test_every_option_of_a_command_that_runs_phases_is_a_setting(task: str) -> None:
    assert options(task) <= {setting.name for setting in REGISTRY if setting.has_flag}


def test_every_flag_of_the_registry_is_an_option_of_some_task() -> None:
    offered = set[str]().union(*(options(task) for task in tasks.namespace.task_names))
    assert {setting.name for setting in REGISTRY if setting.has_flag} <= offered


def test_generated_files_say_what_their_sources_say() -> None:
    assert reference.stale(ROOT) == (), "./invoke docs renews them"


def test_a_stale_file_is_found_and_renewed(tmp_path: Path) -> None:
    assert set(reference.renew(tmp_path)) == set(reference.FILES)
    page = tmp_path / "docs/reference/config.md"
    page.write_text(page.read_text() + "more\n")
    assert reference.stale(tmp_path) == ("docs/reference/config.md",)
    assert reference.renew(tmp_path) == ("docs/reference/config.md",)
    assert reference.stale(tmp_path) == ()
