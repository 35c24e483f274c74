"""A node in maintenance mode is shown a configuration and takes none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import MemoryFile
from bootstrap.host.secret import Secret
from talos.errors import Kind, TalosError

if TYPE_CHECKING:
    from collections.abc import Callable

    from talos.client import Talosctl
    from tests.unit.talos.recorded import Replay

CONFIG = Secret("machine: {}\n", "the machine configuration of lab-01")


def test_what_the_node_says_is_told_and_nothing_is_applied(
    replay: Callable[[str], tuple[Talosctl, Replay]],
) -> None:
    talosctl, runner = replay("03-apply-dry-run")
    said = talosctl.try_insecure("10.5.0.11", CONFIG)
    assert said == "Node is running in maintenance mode and does not have a config yet."
    (command,) = runner.asked
    assert {"apply-config", "--dry-run", "--insecure"} <= set(str(command).split())
    assert [each for each in command.arguments if isinstance(each, MemoryFile)]
    assert runner.secrets == [b"machine: {}\n"]


def test_a_configuration_that_the_node_would_refuse(replay: Callable[[str], tuple[Talosctl, Replay]]) -> None:
    talosctl, _ = replay("03-apply-broken-1")
    with pytest.raises(TalosError) as refused:
        talosctl.try_insecure("10.5.0.11", CONFIG)
    assert refused.value.kind is Kind.INVALID_CONFIG
