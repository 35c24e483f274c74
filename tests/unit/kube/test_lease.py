"""The lease against a little API whose time a test moves."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.engine.events import Note
from bootstrap.engine.testing import FakeClock, Recording, run_phases
from bootstrap.host.errors import ExitCode, FirstlightError, LockedError
from bootstrap.host.objects import mapping, text
from bootstrap.host.process import Process, this_process
from kube.errors import KubeError, KubeErrorKind
from kube.lease import LEASE_SECONDS, Holder, KubeLease
from tests.unit.engine.world import World, phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.engine import Context
    from bootstrap.engine.verdict import Verdict
    from bootstrap.host.objects import Object
    from kube.cluster import KindRef

OTHER = Holder("olga", Process("ops-2", "boot-2", 4026531836, 4711), "run-b")
# Seconds; only a broken lease lets a test wait that long.
PATIENCE = 10.0


@dataclass
class Api:
    """One object with optimistic concurrency."""

    lease: Object | None = None
    calls: list[str] = field(default_factory=list)
    before_get: Callable[[], None] = lambda: None
    before_swap: Callable[[], None] = lambda: None
    after_swap: Callable[[], None] = lambda: None
    version: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        assert (kind, name, namespace) == (("coordination.k8s.io/v1", "Lease"), "firstlight", "kube-system")
        self.calls.append("get")
        self.before_get()
        with self.lock:
            return copy.deepcopy(self.lease)

    def swap(self, item: Object) -> Object | None:
        self.calls.append("swap")
        self.before_swap()
        with self.lock:
            if text(item, "metadata", "resourceVersion") != text(self.lease, "metadata", "resourceVersion"):
                return None
            self.put(mapping(item, "spec"))
        self.after_swap()
        return copy.deepcopy(self.lease)

    def put(self, spec: Object) -> None:
        self.version += 1
        self.lease = {"metadata": {"resourceVersion": str(self.version)}, "spec": copy.deepcopy(spec)}

    def put_foreign(self, holder: Holder | str = OTHER, *, renewed: str = "2026-11-21T13:00:05.000000Z") -> None:
        identity = holder if isinstance(holder, str) else holder.identity
        self.put({
            "holderIdentity": identity, "leaseDurationSeconds": 20, "leaseTransitions": 3,
            "acquireTime": "2026-11-21T13:00:00.000000Z", "renewTime": renewed,
        })  # fmt: skip

    def close(self) -> None:
        self.calls.append("close")

    @property
    def holder(self) -> str:
        return text(self.lease, "spec", "holderIdentity")


class Desk:
    """One run's lease, its clock, and what its steps did."""

    def __init__(self, api: Api | None = None) -> None:
        self.api = api or Api()
        self.clock = FakeClock()
        self.recording = Recording()
        self.holder = Holder("karl", this_process(), "run-a")
        self.opened = 0
        self.lease = KubeLease(self.open, self.holder, cluster="lab", now=self.clock.monotonic)

    def open(self) -> Api:
        self.opened += 1
        return self.api

    def act(self, *actions: Callable[[Context], None]) -> Verdict:
        """Run each as an action of a step of its own, one after the other, the first one after a hold."""
        world = World()
        steps = [
            world.acting(f"step-{index}", needs=(f"step-{index - 1}",) if index else (), before=action)
            for index, action in enumerate([self.lease.hold, *actions])
        ]
        return run_phases([phase("core", *steps, deadline=1e6)], clock=self.clock, readers=[self.recording], target=1e6)

    def wait(self, seconds: float) -> Callable[[Context], None]:
        return lambda _ctx: self.clock.advance(seconds)

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.recording.events if isinstance(event, Note)]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.lease.release()


def await_it(event: threading.Event) -> None:
    assert event.wait(PATIENCE)


def refused(verdict: Verdict) -> tuple[ExitCode, str, str]:
    failure = verdict.failures[0]
    return verdict.exit_code, failure.cause, failure.remedy


OLGA = (
    "olga, pid 4711 on ops-2, run run-b, since 2026-11-21T13:00:00.000000Z, renewed {}",
    "on ops-2: ./invoke status --cluster lab",
)


def test_nothing_is_asked_before_it_is_needed(desk: Desk) -> None:
    desk.lease.release()
    assert desk.opened == 0
    assert desk.api.calls == []


def test_the_first_write_takes_it_and_the_next_ones_only_look_at_the_clock(desk: Desk) -> None:
    verdict = desk.act(desk.lease.hold, desk.wait(LEASE_SECONDS / 2), desk.lease.hold)
    assert verdict.exit_code is ExitCode.DONE
    assert desk.api.calls == ["get", "swap"]
    spec = mapping(desk.api.lease, "spec")
    assert spec["holderIdentity"] == desk.holder.identity
    assert spec["leaseDurationSeconds"] == LEASE_SECONDS
    assert spec["leaseTransitions"] == 0
    assert spec["acquireTime"] == spec["renewTime"]
    assert desk.notes == []


@pytest.mark.parametrize("seconds", [LEASE_SECONDS * 0.8, LEASE_SECONDS * 100])
def test_when_little_is_left_it_is_renewed_at_once(desk: Desk, seconds: float) -> None:
    acquired: list[str] = []
    verdict = desk.act(
        lambda _: acquired.append(text(desk.api.lease, "spec", "acquireTime")), desk.wait(seconds), desk.lease.hold
    )
    assert verdict.exit_code is ExitCode.DONE
    assert desk.api.calls == ["get", "swap"] * 2
    assert text(desk.api.lease, "spec", "acquireTime") == acquired[0]
    assert text(desk.api.lease, "spec", "leaseTransitions") == "0"


def test_one_that_was_given_back_is_free(desk: Desk) -> None:
    desk.api.put_foreign("")
    assert desk.act().exit_code is ExitCode.DONE
    assert desk.api.holder == desk.holder.identity
    assert text(desk.api.lease, "spec", "leaseTransitions") == "4"
    assert desk.notes == []


def test_a_dead_process_of_this_very_boot_keeps_nobody_waiting(desk: Desk) -> None:
    gone = Holder("karl", replace(this_process(), pid=0x7FFFFFFF), "run-0")
    desk.api.put_foreign(gone)
    verdict = desk.act()
    assert verdict.exit_code is ExitCode.DONE
    assert verdict.seconds == 0.0
    assert desk.notes == [f"took the lease over from {gone}, which did not give it back"]


@pytest.mark.parametrize("renewed", ["2000-01-01T00:00:00.000000Z", "2100-01-01T00:00:00.000000Z"])
@pytest.mark.parametrize(
    "holder",
    [OTHER, Holder("karl", replace(this_process(), boot="the boot before"), "run-0"), "another program"],
)
def test_one_that_nobody_renews_lapses_by_our_clock_whatever_theirs_says(
    desk: Desk, holder: Holder | str, renewed: str
) -> None:
    desk.api.put_foreign(holder, renewed=renewed)
    verdict = desk.act()
    assert verdict.exit_code is ExitCode.DONE
    assert 20.0 <= verdict.seconds <= 24.0
    assert desk.api.holder == desk.holder.identity
    assert desk.notes == [f"took the lease over from {holder}, which did not give it back"]


def test_one_that_is_renewed_before_our_eyes_is_respected(desk: Desk) -> None:
    desk.api.put_foreign()

    def renew() -> None:
        if desk.clock.monotonic() > 1008.0:
            desk.api.put_foreign(renewed="later")

    desk.api.before_get = renew
    verdict = desk.act()
    assert refused(verdict) == (ExitCode.LOCKED, OLGA[0].format("later"), OLGA[1])
    assert verdict.failures[0].fact == "another run works on cluster lab"
    assert verdict.seconds <= 12.0
    assert "swap" not in desk.api.calls


def test_one_that_is_given_back_before_our_eyes_is_taken(desk: Desk) -> None:
    desk.api.put_foreign()

    def give_back() -> None:
        if desk.clock.monotonic() > 1008.0:
            desk.api.put_foreign("")

    desk.api.before_get = give_back
    verdict = desk.act()
    assert verdict.exit_code is ExitCode.DONE
    assert desk.notes == []


def test_who_lost_it_writes_nothing_more_and_says_who_has_it(desk: Desk) -> None:

    def lose(_ctx: Context) -> None:
        desk.clock.advance(LEASE_SECONDS * 2)
        desk.api.put_foreign()
        desk.api.calls.clear()

    verdict = desk.act(lose, desk.lease.hold)
    assert refused(verdict) == (ExitCode.LOCKED, OLGA[0].format("2026-11-21T13:00:05.000000Z"), OLGA[1])
    desk.lease.release()
    assert "swap" not in desk.api.calls
    assert desk.api.holder == OTHER.identity
    desk.api.put_foreign("")
    assert refused(desk.act())[0] is ExitCode.LOCKED


def test_in_the_midst_of_an_action_one_that_lapsed_is_renewed_before_a_write(desk: Desk) -> None:
    desk.lease.permit()
    assert desk.opened == 0

    def write(_ctx: Context) -> None:
        desk.clock.advance(LEASE_SECONDS - 1.0)
        desk.api.calls.clear()
        desk.lease.permit()
        assert desk.api.calls == []
        desk.clock.advance(1.0)
        desk.lease.permit()
        assert desk.api.calls == ["get", "swap"]

    assert desk.act(write).exit_code is ExitCode.DONE


def test_in_the_midst_of_an_action_nothing_is_written_when_another_run_has_it(desk: Desk) -> None:

    def write(_ctx: Context) -> None:
        desk.api.put_foreign()
        desk.clock.advance(LEASE_SECONDS)
        for _ in range(2):
            with pytest.raises(LockedError):
                desk.lease.permit()

    desk.act(write)
    assert desk.api.holder == OTHER.identity


def test_in_the_midst_of_an_action_an_api_that_does_not_answer_permits_nothing(desk: Desk) -> None:

    def write(_ctx: Context) -> None:
        desk.clock.advance(LEASE_SECONDS)
        desk.api.before_get = fail
        with pytest.raises(KubeError, match="the lease of cluster lab has lapsed") as error:
            desk.lease.permit()
        assert error.value.transient
        desk.api.before_get = lambda: None
        desk.lease.permit()

    def fail() -> None:
        raise unavailable()

    assert desk.act(write).exit_code is ExitCode.DONE


def test_one_that_was_taken_away_is_lost(desk: Desk) -> None:

    def remove(_ctx: Context) -> None:
        desk.clock.advance(LEASE_SECONDS)
        desk.api.lease = None

    assert refused(desk.act(remove, desk.lease.hold))[:2] == (ExitCode.LOCKED, "its lease was taken away")


def unavailable(kind: KubeErrorKind = KubeErrorKind.UNREACHABLE) -> KubeError:
    return KubeError(kind, "cannot read Lease kube-system/firstlight", cause="connection refused")


def test_an_api_that_does_not_answer_is_waited_for(desk: Desk) -> None:
    tries = iter(range(100))

    def fail() -> None:
        if next(tries) < 5:
            raise unavailable()

    desk.api.before_get = fail
    verdict = desk.act()
    assert verdict.exit_code is ExitCode.DONE
    assert verdict.seconds > 0.0


def test_an_api_that_never_answers_ends_the_wait(desk: Desk) -> None:

    def fail() -> None:
        raise unavailable()

    desk.api.before_get = fail
    verdict = desk.act()
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert "last seen: cannot read Lease kube-system/firstlight: connection refused" in verdict.failures[0].cause


def test_an_api_that_refuses_ends_the_run(desk: Desk) -> None:

    def fail() -> None:
        raise unavailable(KubeErrorKind.FORBIDDEN)

    desk.api.before_swap = fail
    verdict = desk.act()
    assert verdict.exit_code is ExitCode.FAILED
    assert verdict.seconds == 0.0


def test_a_write_whose_answer_was_lost_is_known_as_our_own(desk: Desk) -> None:
    answers = iter([unavailable()])

    def lose_answer() -> None:
        if error := next(answers, None):
            raise error

    desk.api.after_swap = lose_answer
    assert desk.act().exit_code is ExitCode.DONE
    assert desk.api.holder == desk.holder.identity


def test_who_is_slower_looks_again(desk: Desk) -> None:
    rivals = iter([OTHER])

    def be_faster() -> None:
        if rival := next(rivals, None):
            desk.api.put_foreign(rival)

    desk.api.before_swap = be_faster
    verdict = desk.act()
    assert verdict.exit_code is ExitCode.DONE
    assert verdict.seconds >= 20.0


def test_at_the_end_it_is_given_back(desk: Desk) -> None:
    desk.act()
    desk.lease.release()
    assert desk.api.holder == ""
    assert desk.api.calls[-1] == "close"


def test_giving_back_never_raises_and_never_takes_long(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kube.lease.RELEASE_SECONDS", 0.01)
    go_on = threading.Event()
    desk.act()

    def fail() -> None:
        raise RuntimeError("a bug")

    desk.api.before_get = fail
    desk.lease.release()
    desk.api.before_get = partial(await_it, go_on)
    desk.lease.release()
    assert desk.api.holder == desk.holder.identity
    go_on.set()


def test_it_is_renewed_while_a_long_action_runs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kube.lease.RENEWALS", 10_000)
    renewed, tries = threading.Event(), iter(range(100))

    def count() -> None:
        if next(tries) == 3:
            renewed.set()

    desk.api.after_swap = count
    verdict = desk.act(lambda _: await_it(renewed))
    assert verdict.exit_code is ExitCode.DONE


def test_renewing_goes_on_after_a_failure_and_ends_with_a_loss(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kube.lease.RENEWALS", 10_000)
    monkeypatch.setattr("kube.lease.RETRY_SECONDS", 0.001)
    failed = threading.Event()
    failures = iter([unavailable()] * 3)

    def fail() -> None:
        if error := next(failures, None):
            raise error
        failed.set()

    def long(_ctx: Context) -> None:
        desk.api.before_get = fail
        assert failed.wait(PATIENCE)
        desk.api.put_foreign()
        for _ in range(1000):
            if desk.lease._lost:
                return
            threading.Event().wait(0.005)

    verdict = desk.act(long, desk.lease.hold)
    assert refused(verdict)[0] is ExitCode.LOCKED
    assert desk.api.holder == OTHER.identity


ids = st.text(st.characters(exclude_characters="/", exclude_categories=["C"]), max_size=20)


hosts = ids.filter(lambda host: "@" not in host)
processes = st.builds(Process, hosts, ids, st.integers(0, 2**32), st.integers(0, 2**22))


@given(st.builds(Holder, ids, processes, ids))
def test_an_identity_can_be_read_back(holder: Holder) -> None:
    assert Holder.parse(holder.identity) == holder


@given(st.text())
def test_any_other_text_is_no_identity_or_reads_back(identity: str) -> None:
    found = Holder.parse(identity)
    assert found is None or "/" in identity


@given(st.lists(st.tuples(st.sampled_from("ABp"), st.floats(0.0, 25.0)), max_size=60))
def test_two_never_hold_it_at_the_same_time(moves: list[tuple[str, float]]) -> None:
    """A and B look at it in any order, time passes before each look (`p`: only time), and neither trusts a clock."""
    api, clock = Api(), FakeClock()
    runs = {
        name: KubeLease(
            lambda: api,
            Holder(name, Process(name, f"boot-{name}", 1, 1), name),
            cluster="lab",
            now=clock.monotonic,
        )
        for name in "AB"
    }
    for who, seconds in moves:
        clock.advance(seconds)
        if lease := runs.get(who):
            try:
                lease._look()
            except FirstlightError:
                del runs[who]
        assert sum(lease._until > clock.monotonic() for lease in runs.values()) <= 1
