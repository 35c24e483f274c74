"""Time that stands still while nobody runs."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.host.clock import AwakeClock, SystemClock, since_boot


class Boot:
    """Seconds since a boot that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_passes_between_two_looks_counts_unless_nobody_looked_for_long() -> None:
    boot = Boot()
    clock = AwakeClock(boot, gap=5.0)
    began = clock.monotonic()
    boot.now += 4.0
    assert clock.monotonic() - began == pytest.approx(4.0)
    boot.now += 600.0
    assert clock.monotonic() - began == pytest.approx(4.0)
    assert clock.missed == pytest.approx(600.0)
    boot.now += 5.0
    assert clock.monotonic() - began == pytest.approx(9.0)
    assert clock.missed == pytest.approx(600.0)


def test_the_first_look_after_a_gap_may_be_the_question_for_it() -> None:
    boot = Boot()
    clock = AwakeClock(boot, gap=5.0)
    boot.now += 60.0
    assert clock.missed == pytest.approx(60.0)


@given(st.lists(st.floats(min_value=0.0, max_value=1000.0), max_size=50))
def test_it_never_goes_back_and_loses_nothing(steps: list[float]) -> None:
    boot = Boot()
    clock = AwakeClock(boot, gap=5.0)
    began = seen = clock.monotonic()
    for step in steps:
        boot.now += step
        now = clock.monotonic()
        assert now >= seen - 1e-6
        seen = now
    assert seen - began + clock.missed == pytest.approx(sum(steps), abs=1e-6)


def test_while_it_is_open_somebody_looks() -> None:
    looks = threading.Semaphore(0)

    def now() -> float:
        looks.release()
        return 0.0

    with AwakeClock(now, pulse=0.001):
        for _ in range(5):
            assert looks.acquire(timeout=10.0)


def test_a_pause_ends_when_it_is_cancelled() -> None:
    cancelled = threading.Event()
    cancelled.set()
    assert AwakeClock().pause(1e6, cancelled)
    assert not AwakeClock().pause(0.0, threading.Event())


def test_the_systems_clock_misses_nothing_and_boot_time_goes_on() -> None:
    assert SystemClock().missed == 0.0
    assert 0.0 < since_boot() <= since_boot()
