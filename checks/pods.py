"""What keeps a pod from running here: places that Talos has read-only, capabilities that it drops, pod security.

Pod security as in https://kubernetes.io/docs/concepts/security/pod-security-standards/, without the rules about
AppArmor, SELinux, sysctls and Windows, which no chart here sets.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import Object, dig, flag, mapping, name_of, number, objects, sequence, text
from checks.installed import containers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bootstrap.host.errors import Problem
    from checks.installed import Installed

ENFORCE: Final = "pod-security.kubernetes.io/enforce"
PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"
# Talos configures the API server so: `baseline` where a namespace says nothing, none of it in kube-system.
_BY_DEFAULT: Final = BASELINE
_EXEMPT: Final = "kube-system"
# Talos 1.11 drops them from everything (pkg/machinery/constants, DefaultDroppedCapabilities).
_DROPPED: Final = frozenset({"SYS_BOOT", "SYS_MODULE"})
# Everything else is the squashfs image of Talos 1.11 (constants.Overlays; containerd's hosts are a bind mount).
_WRITABLE: Final = tuple(
    map(
        PurePosixPath,
        (
            "/dev", "/etc/cni", "/etc/cri/conf.d/hosts", "/etc/kubernetes", "/opt", "/proc", "/run", "/sys", "/tmp",  # noqa: S108
            "/usr/libexec/kubernetes", "/var",
        ),
    )
)  # fmt: skip
_HARMLESS: Final = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
_PLAIN_VOLUMES: Final = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "name", "persistentVolumeClaim", "projected", "secret"}
)


def levels(namespaces: Sequence[Object]) -> dict[str, str]:
    """The pod security that namespaces enforce, by name."""
    return {name_of(item): text(item, "metadata", "labels", ENFORCE) or _BY_DEFAULT for item in namespaces}


def check(every: Sequence[Installed], enforced: Mapping[str, str]) -> Iterator[Problem]:
    """Pods that would not run.

    Args:
        every: the releases.
        enforced: as `levels` gives it.
    """
    for one in every:
        namespace = one.release.namespace
        level = PRIVILEGED if namespace == _EXEMPT else enforced.get(namespace, _BY_DEFAULT)
        for name, pod in one.pods():
            for words in _refused_by_talos(pod):
                yield one.problem(f"{name} {words}")
            for words in violations(pod, level):
                yield one.problem(f"{name} {words}, and namespace {namespace} enforces {level}")


def violations(pod: Object, level: str) -> Iterator[str]:
    """What of a pod's spec a level of pod security refuses, each completing "the pod ..."."""
    if level != PRIVILEGED:
        yield from _beyond_baseline(pod)
    if level == RESTRICTED:
        yield from _beyond_restricted(pod)


def _refused_by_talos(pod: Object) -> Iterator[str]:
    for container in containers(pod):
        for name in sorted(_DROPPED & _capabilities(container, "add")):
            yield f"({text(container, 'name')}) asks for the capability {name}, which Talos drops"
    for volume in objects(pod, "volumes"):
        path = PurePosixPath(text(volume, "hostPath", "path") or "/var")
        if any(path.is_relative_to(place) for place in _WRITABLE):
            continue
        makes = text(volume, "hostPath", "type").endswith("OrCreate")
        if makes or _is_written(pod, text(volume, "name")):
            yield f"writes to {path} of the host, which is read-only on Talos"


def _is_written(pod: Object, volume: str) -> bool:
    mounts = [mount for container in containers(pod) for mount in objects(container, "volumeMounts")]
    return any(text(mount, "name") == volume and not flag(mount, "readOnly") for mount in mounts)


def _beyond_baseline(pod: Object) -> Iterator[str]:
    for name in ("hostIPC", "hostNetwork", "hostPID"):
        if flag(pod, name):
            yield f"has {name}"
    for volume in objects(pod, "volumes"):
        if "hostPath" in volume:
            yield f"mounts {text(volume, 'hostPath', 'path')} of the host"
    for container in containers(pod):
        yield from (f"({text(container, 'name')}) {words}" for words in _container_beyond_baseline(container))
    if "Unconfined" in _seccomp(pod):
        yield "runs without seccomp"


def _container_beyond_baseline(container: Object) -> Iterator[str]:
    if flag(container, "securityContext", "privileged"):
        yield "is privileged"
    for capability in sorted(_capabilities(container, "add") - _HARMLESS):
        yield f"asks for the capability {capability}"
    for port in objects(container, "ports"):
        if number(port, "hostPort"):
            yield f"takes port {number(port, 'hostPort')} of the host"
    if text(container, "securityContext", "procMount") not in {"", "Default"}:
        yield "sees all of /proc"


def _beyond_restricted(pod: Object) -> Iterator[str]:
    for volume in objects(pod, "volumes"):
        for kind in sorted(volume.keys() - _PLAIN_VOLUMES - {"hostPath"}):
            yield f"has a volume of kind {kind}"
    for container in containers(pod):
        name, context = text(container, "name"), mapping(container, "securityContext")
        if dig(context, "allowPrivilegeEscalation") is not False:
            yield f"({name}) may gain privileges"
        if "ALL" not in _capabilities(container, "drop"):
            yield f"({name}) does not drop all capabilities"
        for capability in sorted((_capabilities(container, "add") & _HARMLESS) - {"NET_BIND_SERVICE"}):
            yield f"({name}) asks for the capability {capability}"
        if dig(context, "runAsNonRoot") is not True and not (
            "runAsNonRoot" not in context and flag(pod, "securityContext", "runAsNonRoot")
        ):
            yield f"({name}) may run as root"
    if "" in _seccomp(pod):
        yield "has no seccomp profile"


def _seccomp(pod: Object) -> set[str]:
    """The kinds of seccomp profiles that the containers run with."""
    whole = text(pod, "securityContext", "seccompProfile", "type")
    return {text(one, "securityContext", "seccompProfile", "type") or whole for one in containers(pod)}


def _capabilities(container: Object, what: str) -> set[str]:
    return {str(one).removeprefix("CAP_") for one in sequence(container, "securityContext", "capabilities", what)}
