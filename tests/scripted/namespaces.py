"""Namespaces that are being deleted, and go after a while with all that is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.host.objects import name_of, namespace_of, text
from kube.cluster import NAMESPACE

if TYPE_CHECKING:
    from tests.scripted.model import Model


class Namespaces:
    """The namespace controller, as far as anybody waits for it.

    Args:
        model: the world.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        model.hears({"namespace ends": self.end})

    def begin(self, name: str, seconds: float | None) -> None:
        """Let a namespace be deleted; None holds it for good."""
        with self._model.look():
            found = self._model.find(NAMESPACE, name)
            assert found, f"there is no namespace {name}"
            metadata = found["metadata"]
            assert isinstance(metadata, dict)
            ending = {**metadata, "deletionTimestamp": "2026-01-01T00:00:00Z"}
            self._model.store({**found, "metadata": ending, "spec": {"finalizers": ["kubernetes"]}})
            if seconds is not None:
                self._model.after(seconds, "namespace ends", name)

    def end(self, name: str) -> None:
        """It is gone."""
        for item in self._model.every():
            if namespace_of(item) == name:
                self._model.remove((text(item, "apiVersion"), text(item, "kind")), name_of(item), name)
        self._model.remove(NAMESPACE, name)
