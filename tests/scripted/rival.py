"""Another operator, on another machine, who works on the cluster and renews the lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube.cluster import LEASE
from kube.lease import LEASE_SECONDS, NAME, NAMESPACE, RENEWALS

if TYPE_CHECKING:
    from tests.scripted.model import Model

IDENTITY = "mallory@elsewhere/0b0e0c0a/4026531836/4711/20260101T000000Z-beef"
# Renewals after which the rival is gone: longer than any wait for the lease.
_RENEWALS = 50


class Rival:
    """The holder of the lease as far as anybody can see it.

    Args:
        model: the world.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        model.hears({"renew": self._renew})

    def begin(self) -> None:
        """Take the lease as soon as there is an API server, and renew it from then on."""
        with self._model.look():
            self._model.after(0.0, "renew", str(_RENEWALS))

    def _renew(self, left: str) -> None:
        if self._model.get("api"):
            self._model.store({
                "apiVersion": LEASE[0], "kind": LEASE[1], "metadata": {"name": NAME, "namespace": NAMESPACE},
                "spec": {"holderIdentity": IDENTITY, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": left},
            })  # fmt: skip
        if int(left):
            # Before the API server is there, whether it is there is asked often.
            pause = LEASE_SECONDS / RENEWALS if self._model.get("api") else 0.5
            self._model.after(pause, "renew", str(int(left) - bool(self._model.get("api"))))
