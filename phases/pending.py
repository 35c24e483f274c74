"""A release that its helm left pending: whether that helm is dead, and the end of its hold on the release then.

On this machine no helm of an earlier run lives: whoever takes the run lock ends every program of a run that did not
give it back, told by a variable that each of them carries (`bootstrap.engine.lock`, `bootstrap.host.orphans`), and a
run that gives the lock back has waited for its own. So a revision that our helm began here was left by a dead one,
and a mark beside helm's files says which revision that is. The Lease keeps runs on other machines away, but neither
a helm that outlived such a run, nor one that a person or a pipeline started: those get the time that helm allows
itself.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Action, Context, KillSafety, Observation
from bootstrap.engine.step import Gate
from bootstrap.host.commands import CommandError
from bootstrap.host.errors import FirstlightError
from kube import helm
from kube.adoption import ADOPTER
from kube.helmfile import SYNC_SECONDS
from kube.release_states import Treatment, rule, unlock
from phases.charts import surroundings
from phases.refs import API

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kube.cluster import Reading
    from kube.helm import Release
    from phases.refs import CoreRelease
    from phases.world import World

# Seconds that a helm may live which we cannot see: its default --timeout, which is also ours and Flux'.
HELM_SECONDS: Final = SYNC_SECONDS
# Between two looks at another's helm: it has had minutes, and five seconds more cost nobody anything.
LOOK_SECONDS: Final = 5.0
# A look that comes late may stretch the wait; more than twice as long means that the API does not answer.
_PATIENCE: Final = 2.0
# What helm says when it did not even begin (helm v3.19.0, pkg/action/action.go, errPending).
_BUSY: Final = "another operation (install/upgrade/rollback) is in progress"


@dataclass(frozen=True)
class Mark:
    """That a helm of ours is at a release: a file from before it starts until it has ended well.

    Attributes:
        file: where; its time is when helm was started.
    """

    file: Path

    @classmethod
    def of(cls, world: World, one: CoreRelease) -> Mark:
        """The mark of a release."""
        return cls(surroundings(world, one.name) / "begun")

    @contextmanager
    def set(self) -> Iterator[None]:
        """Set while open; it stays when helm is killed with us, or fails: it may have left the release pending."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.touch()
        try:
            yield
        except CommandError as error:
            if _BUSY in error.stderr:
                self.file.unlink()
            raise
        self.file.unlink()

    def covers(self, began: datetime | None) -> bool:
        """Whether the helm that was started last, and has ended since, began an operation at this time."""
        if began is None or not self.file.exists():
            return False
        started = datetime.fromtimestamp(self.file.stat().st_mtime, UTC)
        return started <= began <= started + timedelta(seconds=SYNC_SECONDS)


def action(world: World, one: CoreRelease, found: Release) -> Action:
    """Free a release that is pending."""

    def preview(ctx: Context) -> str:
        with ctx.outside("request"):
            now = _pending(ctx.value(API).api, one)
        return f"revision {now.revision}: {now.status} -> failed" if now else "it is not pending any more"

    return Action(
        description=f"call revision {found.revision} of release {one.namespace}/{one.name} failed in helm's storage",
        reason=f"it is {found.status}: {rule(found.status).reason}",
        run=lambda ctx: free(world, one, ctx),
        recognised_by="helm's storage says that this revision failed",
        # One write, of the very version that was looked at.
        kill_safety=KillSafety.REPEATABLE,
        preview=preview,
    )


def free(world: World, one: CoreRelease, ctx: Context) -> None:
    """End a dead helm's hold on a release, after the time in which a helm of somebody else may still live.

    Args:
        world: the world.
        one: the release; nothing is done when it is not pending, or is Flux' to end.
        ctx: of a step that needs the API.

    Raises:
        FirstlightError: the helm lives, since it wrote meanwhile.
        KubeError: the cluster cannot be asked, or refuses.
        WaitTimeoutError: a deadline came first.
    """
    api = ctx.value(API).api
    with ctx.outside("request"):
        found = _pending(api, one)
    if found is None:
        return
    if not Mark.of(world, one).covers(found.began):
        ctx.wait(_gate(one, found))
        with ctx.outside("request"):
            if _pending(api, one) is None:
                return
    with ctx.outside("request"):
        is_freed = unlock(api, found)
    if not is_freed:
        raise FirstlightError(
            f"release {one.namespace}/{one.name} is not freed",
            cause="another helm works on it: it wrote while its operation was being called failed",
        )


def _pending(api: Reading, one: CoreRelease) -> Release | None:
    found = helm.latest(api, one.name, one.namespace)
    is_ours = found is not None and found.deployed_by != ADOPTER
    return found if found and is_ours and rule(found.status).treatment is Treatment.UNLOCK else None


def _gate(one: CoreRelease, first: Release) -> Gate[None]:
    """Over once the release is not as it was, or its helm has had all the time that it allows itself."""
    left = HELM_SECONDS - _age(first)
    looks = itertools.count()
    since = f"{first.began:%H:%M:%S %Z}" if first.began else "some time ago"
    seen = f"revision {first.revision} is {first.status} since {since}, by a helm that was not started here"

    def check(ctx: Context) -> Observation[None]:
        found = _pending(ctx.value(API).api, one)
        if found is None or found.stored != first.stored:
            return Observation(holds=True, seen="it has written")
        return Observation(next(looks) * LOOK_SECONDS >= left, f"{seen}; it gives up within {left:.0f} s")

    return Gate(
        description=f"another's helm at release {one.namespace}/{one.name} to end",
        check=check,
        interval=LOOK_SECONDS,
        timeout=HELM_SECONDS * _PATIENCE,
    )


def _age(found: Release) -> float:
    """Seconds since an operation began, by two machines' clocks; within what a helm may live, however they differ."""
    if found.began is None:
        return 0.0
    age = (datetime.now(UTC) - found.began).total_seconds()
    return min(max(age, 0.0), HELM_SECONDS)
