"""Values that a component must have on these machines: what Talos asks for, and what two renders need to be equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bootstrap.host.objects import dig, flag, sequence, text
from inventory.agreement import KUBEPRISM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bootstrap.host.errors import Problem
    from checks.installed import Installed


class _Wanted(NamedTuple):
    """A value, as text, and why; where a switch is named, only while that is on."""

    place: tuple[str, ...]
    values: tuple[str, ...]
    reason: str
    switch: tuple[str, ...] = ()


_MADE_BY_A_JOB: Final = "a template that makes certificates renders differently each time"
# By the chart's name. Talos' guide for Cilium, Spegel's for Talos (documents 002 and the corrections to it).
_WANTED: Final = {
    "cilium": (
        _Wanted(("cgroup", "autoMount", "enabled"), ("false",), "Talos mounts cgroups itself"),
        _Wanted(("cgroup", "hostRoot"), ("/sys/fs/cgroup",), "there Talos mounts cgroups"),
        _Wanted(("hubble", "tls", "auto", "method"), ("cronJob", "certmanager"), _MADE_BY_A_JOB, ("hubble", "enabled")),
        _Wanted(
            ("clustermesh", "apiserver", "tls", "auto", "method"), ("cronJob", "certmanager"), _MADE_BY_A_JOB,
            ("clustermesh", "useAPIServer"),
        ),
    ),
    "spegel": (
        _Wanted(
            ("spegel", "containerdRegistryConfigPath"), ("/etc/cri/conf.d/hosts",),
            "the chart's own folder is read-only on Talos",
        ),
    ),
}  # fmt: skip
_CAPABILITIES: Final = ("securityContext", "capabilities", "ciliumAgent")


def check(every: Sequence[Installed], endpoint: tuple[str, str]) -> Iterator[Problem]:
    """Releases without a value that these machines ask for.

    Args:
        every: the releases.
        endpoint: host and port of the Kubernetes API as machines know it.
    """
    for one in every:
        for wanted in _WANTED.get(one.chart_name, ()):
            if wanted.switch and not flag(one.release.values, *wanted.switch):
                continue
            found = text(one.release.values, *wanted.place)
            if found not in wanted.values:
                meant = f"must be {' or '.join(wanted.values)}, not {found or 'the default of the chart'}"
                yield one.problem(f"`{'.'.join(wanted.place)}` {meant}: {wanted.reason}", *wanted.place)
        if one.chart_name == "cilium":
            yield from _cilium(one, endpoint)


def _cilium(one: Installed, endpoint: tuple[str, str]) -> Iterator[Problem]:
    values = one.release.values
    if not sequence(values, *_CAPABILITIES):
        words = f"`{'.'.join(_CAPABILITIES)}` must be listed: the chart's own list has SYS_MODULE, which Talos drops"
        yield one.problem(words, *_CAPABILITIES)
    found = (text(values, "k8sServiceHost"), text(values, "k8sServicePort"))
    if found not in {endpoint, KUBEPRISM}:
        words = f"asks for the API at {':'.join(found)}; the inventory's endpoint is {':'.join(endpoint)}"
        yield one.problem(words, "k8sServiceHost")
    if dig(values, "kubeProxyReplacement") is not True:
        words = "`kubeProxyReplacement` must be true: Talos runs no kube-proxy"
        yield one.problem(words, "kubeProxyReplacement")
