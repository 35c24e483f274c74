"""The cluster to ourselves: a Lease that says so to every other operator, wherever that one runs."""

from __future__ import annotations

import math
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from bootstrap.engine.step import Gate, Observation
from bootstrap.host.clock import since_boot
from bootstrap.host.errors import FirstlightError, LockedError
from bootstrap.host.objects import Object, mapping, number, text
from bootstrap.host.process import Process
from kube.cluster import LEASE, KindRef, Look
from kube.errors import KubeError, KubeErrorKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.engine.step import Context

NAMESPACE: Final = "kube-system"
NAME: Final = "firstlight"
# Longer than an API server's restart on a machine of its own; who comes after a crash waits no longer than that.
LEASE_SECONDS: Final = 30
# Three renewals a lease: two may fail before it lapses, and an action begins with at least a third of it left.
RENEWALS: Final = 3
# Between two tries while the API does not answer or another run has the lease; five fit into what a failure leaves.
RETRY_SECONDS: Final = 2.0
# For giving the lease back: one request; without it the lease lapses by itself.
RELEASE_SECONDS: Final = 2.0
_PARTS: Final = 5


class Api(Protocol):
    """The part of `kube.cluster.Cluster` that a lease needs."""

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        """One object; None when it is not there."""

    def swap(self, item: Object) -> Object | None:
        """Create it, or replace the version that it names; None when somebody was faster."""

    def close(self) -> None:
        """No call may follow."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        user: name of the operator.
        process: the run's process, by its place.
        run: the run's id.
    """

    user: str
    process: Process
    run: str

    @property
    def identity(self) -> str:
        """As the Lease keeps it: `user@host/boot/PID namespace/pid/run`."""
        one = self.process
        return "/".join([f"{self.user}@{one.host}", one.boot, str(one.namespace), str(one.pid), self.run])

    @classmethod
    def parse(cls, identity: str) -> Holder | None:
        """From `identity`; None when another program wrote it."""
        parts = identity.split("/")
        if len(parts) != _PARTS or not (parts[2].isdigit() and parts[3].isdigit()):
            return None
        user, _, host = parts[0].rpartition("@")
        return cls(user, Process(host, parts[1], int(parts[2]), int(parts[3])), parts[4])

    def __str__(self) -> str:
        """One line: who, pid, host and run."""
        return f"{self.user}, pid {self.process.pid} on {self.process.host}, run {self.run}"


class KubeLease:
    """The engine's lease as the object `kube-system/firstlight`; see `bootstrap.engine.seams.Lease`.

    Nothing is asked or written before the first `hold`. From then on a thread renews it. Only our own clock says
    for how long it is ours, counted from before each renewal was sent. The clock of another holder is not looked
    at either: its lease has lapsed when nobody renewed it for its whole duration before our eyes.

    Args:
        connect: opens the Kubernetes API.
        holder: who we are.
        cluster: its name, for messages.
        now: seconds that go on while this process is stopped or its machine sleeps, as they do for others.
        duration: seconds that the lease lasts without renewal.
    """

    def __init__(
        self,
        connect: Callable[[], Api],
        holder: Holder,
        *,
        cluster: str,
        now: Callable[[], float] = since_boot,
        duration: int = LEASE_SECONDS,
    ) -> None:
        self._connect = connect
        self._holder = holder
        self._cluster = cluster
        self._now = now
        self._duration = duration
        self._lock = threading.Lock()
        self._api: Api | None = None
        self._until = -math.inf
        self._renewing = False
        self._ended = threading.Event()
        self._lost: LockedError | None = None
        self._foreign = ""
        self._foreign_since = 0.0
        self._taken_from = ""

    def hold(self, ctx: Context) -> None:
        """Have the lease, with a third of its duration left; see `Lease.hold`.

        Raises:
            LockedError: another run has it, or had it after us.
            WaitTimeoutError: the API does not answer.
            KubeError: the API refuses.
        """
        if self._has_time_left():
            return
        with self._lock:
            if self._has_time_left():
                return
            with ctx.outside("request"):
                seen = self._look()
            if not seen.holds:
                ctx.wait(
                    Gate(
                        description=f"the lease of cluster {self._cluster}",
                        check=lambda _: self._look(),
                        interval=RETRY_SECONDS,
                    )
                )
            if self._taken_from:
                ctx.note(f"took the lease over from {self._taken_from}, which did not give it back")
                self._taken_from = ""
            if not self._renewing:
                self._renewing = True
                threading.Thread(target=self._renew, name="lease", daemon=True).start()

    def permit(self) -> None:
        """Let a write go on in the midst of an action; a lease that lapsed because we stood still is renewed first.

        Raises:
            KubeError: it lapsed and cannot be renewed now; transient, unless the API refuses.
            LockedError: another run has it.
        """
        if self._is_ours():
            return
        with self._lock:
            if self._is_ours():
                return
            seen = self._look()
        if not seen.holds:
            fact = f"the lease of cluster {self._cluster} has lapsed"
            raise KubeError(KubeErrorKind.UNAVAILABLE, fact, cause=f"it cannot be renewed: {seen.seen}")

    def release(self) -> None:
        """Give it back; never raises, and never takes long."""
        self._ended.set()
        if self._api is not None:
            # A thread, because a request to an API server that hangs outlasts the patience of whoever ends a run.
            giver = threading.Thread(target=self._give_back, name="lease", daemon=True)
            giver.start()
            giver.join(RELEASE_SECONDS)

    def _is_ours(self) -> bool:
        """Whether it has not lapsed; also before the first `hold`, when nothing is ours to lose."""
        return not self._lost and not -math.inf < self._until <= self._now()

    def _has_time_left(self) -> bool:
        return self._until - self._now() > self._duration / RENEWALS

    def _look(self) -> Look:
        """Take or renew it, when that is possible now."""
        if self._lost:
            raise LockedError(self._lost.fact, cause=self._lost.cause, remedy=self._lost.remedy)
        began = self._now()
        try:
            if self._api is None:
                self._api = self._connect()
            live = self._api.get(LEASE, NAME, NAMESPACE)
            if hindrance := self._hindrance(live, began):
                return Observation(holds=False, seen=hindrance)
            written = self._api.swap(self._claim(live))
        except KubeError as error:
            if not error.transient:
                raise
            return Observation(holds=False, seen=str(error))
        if written is None:
            return Observation(holds=False, seen="another run was faster")
        self._until = began + self._duration
        return Observation(holds=True, seen=f"ours for {self._duration} s")

    def _hindrance(self, live: Object | None, began: float) -> str:
        """Why the lease cannot be taken now; empty when it can."""
        identity = text(live, "spec", "holderIdentity")
        if identity == self._holder.identity:
            return ""
        if self._until > -math.inf:
            raise self._lose(live)
        if not identity:
            self._taken_from = ""
            return ""
        other = Holder.parse(identity)
        self._taken_from = str(other or identity)
        if other and other.process.is_surely_dead:
            return ""
        version = text(live, "metadata", "resourceVersion")
        if version != self._foreign:
            if self._foreign:
                raise self._locked(live)
            self._foreign, self._foreign_since = version, self._now()
        idle = began - self._foreign_since
        lapses = number(live, "spec", "leaseDurationSeconds") or self._duration
        if idle >= lapses:
            return ""
        return f"{self._taken_from} has it, not renewed for {max(0.0, idle):.0f} s; it lapses after {lapses} s"

    def _claim(self, live: Object | None) -> Object:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = mapping(live, "spec")
        ours = spec.get("holderIdentity") == self._holder.identity
        metadata = {key: value for key, value in mapping(live, "metadata").items() if key != "managedFields"}
        return {
            "apiVersion": LEASE[0],
            "kind": LEASE[1],
            "metadata": {**metadata, "name": NAME, "namespace": NAMESPACE},
            "spec": {
                **spec,
                "holderIdentity": self._holder.identity,
                "leaseDurationSeconds": self._duration,
                "acquireTime": spec.get("acquireTime") if ours else moment,
                "renewTime": moment,
                "leaseTransitions": number(spec, "leaseTransitions") + (1 if spec and not ours else 0),
            },
        }

    def _renew(self) -> None:
        pause = self._duration / RENEWALS
        while not self._ended.wait(pause):
            held = False
            # Whoever wants to write next meets the same error and says it.
            with self._lock, suppress(FirstlightError):
                held = self._look().holds
            pause = self._duration / RENEWALS if held else RETRY_SECONDS

    def _give_back(self) -> None:
        # Nobody listens any more; what could not be given back lapses.
        with self._lock, suppress(Exception), ExitStack() as stack:
            if self._api is None:
                return
            stack.callback(self._api.close)
            self._until = -math.inf
            live = self._api.get(LEASE, NAME, NAMESPACE)
            if live and text(live, "spec", "holderIdentity") == self._holder.identity:
                self._api.swap({**live, "spec": {**mapping(live, "spec"), "holderIdentity": ""}})

    def _lose(self, live: Object | None) -> LockedError:
        self._lost = self._locked(live)
        self._until = -math.inf
        self._ended.set()
        return self._lost

    def _locked(self, live: Object | None) -> LockedError:
        identity = text(live, "spec", "holderIdentity")
        other = Holder.parse(identity)
        since, renewed = text(live, "spec", "acquireTime"), text(live, "spec", "renewTime")
        cause = f"{other or identity}, since {since}, renewed {renewed}" if identity else "its lease was taken away"
        where = f"on {other.process.host}: " if other else ""
        return LockedError(
            f"another run works on cluster {self._cluster}",
            cause=cause,
            remedy=f"{where}./invoke status --cluster {self._cluster}",
        )
