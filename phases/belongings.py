"""Objects that a proof makes for itself and takes away again, those of a killed run first."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Observation
from bootstrap.engine.step import Gate
from bootstrap.host.errors import FirstlightError
from kube.cluster import reference
from kube.probe_pod import COMPONENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.engine import Context
    from bootstrap.host.objects import Object
    from kube.cluster import Cluster, KindRef

# On all that a proof makes, and on what controllers make of it.
OURS: Final = "app.kubernetes.io/managed-by=firstlight"
# Seconds; a namespace goes when each of some hundred kinds has been looked for in it, under emulation in half a minute.
GONE_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Belongings:
    """What one proof makes in a cluster.

    Attributes:
        api: the cluster.
        proof: its name.
        kinds: in the order in which they are removed: who makes others before what it makes.
        namespace: where; empty for what is cluster-wide.
    """

    api: Cluster
    proof: str
    kinds: tuple[KindRef, ...]
    namespace: str = ""

    @property
    def labels(self) -> Object:
        """What marks an object as one of these."""
        key, _, value = OURS.partition("=")
        return {key: value, COMPONENT: self.proof}

    @contextlib.contextmanager
    def borrowed(self, ctx: Context) -> Iterator[None]:
        """Nothing of it is there before and after; what is made while open is removed, however that ends.

        Raises:
            WaitTimeoutError: something does not go.
            KubeError: the cluster cannot be asked.
        """
        self._clear(ctx)
        try:
            yield
        except BaseException:
            # Why the proof failed is worth more than what its remains say; the next attempt begins with them.
            with contextlib.suppress(FirstlightError):
                self._remove(ctx)
            raise
        self._clear(ctx)

    def _clear(self, ctx: Context) -> None:
        self._remove(ctx)
        ctx.wait(
            Gate(
                description=f"what the proof {self.proof} made to be gone",
                check=lambda _: self._gone(),
                timeout=GONE_SECONDS,
            )
        )

    def _remove(self, ctx: Context) -> None:
        with ctx.outside("request"):
            for kind in self.kinds:
                for item in self._of(kind):
                    self.api.delete(reference(item))

    def _gone(self) -> Observation[None]:
        left = [str(reference(item)) for kind in self.kinds for item in self._of(kind)]
        return Observation(not left, f"still there: {', '.join(left)}" if left else "nothing is left")

    def _of(self, kind: KindRef) -> list[Object]:
        return self.api.list_objects(kind, self.namespace, labels=f"{OURS},{COMPONENT}={self.proof}")
