"""Who is surely dead, and who may live."""

from __future__ import annotations

import os
import subprocess  # noqa: TID251 # a process of which only the end matters
import sys
from dataclasses import replace

import pytest

from bootstrap.host.process import Process, this_process


def ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_this_process_lives_and_has_a_place() -> None:
    here = this_process()
    assert here.pid == os.getpid()
    assert not here.is_surely_dead
    assert here == this_process()


@pytest.mark.parametrize(
    ("place", "dead"),
    [({}, True), ({"boot": "another"}, False), ({"namespace": 1}, False), ({"boot": ""}, False)],
)
def test_only_a_process_of_this_boot_and_namespace_is_known_to_be_dead(place: dict[str, object], *, dead: bool) -> None:
    gone = replace(this_process(), pid=ended())
    assert Process(**{**vars(gone), **place}).is_surely_dead is dead


def test_one_that_nobody_reaped_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert replace(this_process(), pid=process.pid).is_surely_dead
    process.wait()
    process.stdout.close()
