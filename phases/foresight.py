"""What stands in a plan for what only a run has: secrets, and the way into a cluster that is not there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never, cast

from bootstrap.host.secret import Secret
from phases.world import Access, Credentials
from talos import bundle as bundles
from talos import throwaway

if TYPE_CHECKING:
    from kube.cluster import Cluster as KubernetesApi
    from phases.world import World


class TouchedError(RuntimeError):
    """A plan from the files alone asks the world; a bug of the step that does it."""


def credentials(world: World) -> Credentials:
    """Secrets as good as the real ones for whoever renders with them, made in memory and known to nobody."""
    settings = world.cluster.secrets
    bundle = bundles.read(throwaway.make(settings.talos_bundle.text))
    for secret in bundle.sensitive:
        world.redactor.add(secret)
    token = settings.connect_token
    return Credentials(
        bundle=bundle,
        talosconfig=Secret(b"", "the talosconfig of a plan"),
        named={"connect-token": Secret(f"<secret: {token}>", token.text)},
    )


def access(world: World) -> Access:
    """A way into the cluster that nobody can go."""
    # It has the attributes of the protocol in that each of them raises.
    return Access(cast("KubernetesApi", _Nowhere()), world.kubeconfig)


def untouched(*_arguments: object, **_options: object) -> Never:
    """Stands for a call to the world.

    Raises:
        TouchedError: always.
    """
    raise TouchedError("a plan from the files alone asks the world")


class _Nowhere:
    """Refuses every question."""

    def __getattr__(self, name: str) -> Never:
        raise TouchedError(f"a plan asks the Kubernetes API that it does not have: {name}")
