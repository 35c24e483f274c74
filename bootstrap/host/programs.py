"""The registry of pinned programs: what is wanted, how it is asked for its version, how it is built.

Build flags and times were measured on two cores with Go 1.26; each recipe is a small Go module whose `go.sum`
 pins every source. `bootstrap.host.toolbox` finds and builds what is registered here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Use(StrEnum):
    """Where a program runs."""

    OPERATOR = "operator"  # on this machine; one on PATH will do
    MACHINE = "machine"  # inside the lab's Talos image
    IMAGE = "image"  # inside a container image of the lab
    REHEARSAL = "rehearsal"  # inside an image of a rehearsed cluster; the lab's own tree has no use for it
    LAB = "lab"  # on this machine, for the lab only


@dataclass(frozen=True)
class Question:
    """How a program is asked for its version.

    Attributes:
        arguments: its command line without the program.
        pattern: regular expression over standard output, then standard error; group 1 is the version without
            `v`. It matches only output of the program that is meant, not of another one with the same name.
    """

    arguments: tuple[str, ...]
    pattern: str


@dataclass(frozen=True)
class Stamp:
    """For a program that does not tell its version: the module version that Go stamped into it.

    Attributes:
        module: path of the module that the program comes from.
    """

    module: str


@dataclass(frozen=True)
class ModuleCopy:
    """A module that does not build as it is served: copied into the build folder, with files added.

    The recipe's `go.mod` replaces the module by that folder, and the recipe's own files of that folder lie over it.

    Attributes:
        module: its path.
        version: its version with `v`.
        digest: its `h1:` checksum, because `go.sum` does not cover a replaced module.
        into: folder below the build folder.
        added: path below `into` and content of every added file.
    """

    module: str
    version: str
    digest: str
    into: str
    added: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Program:
    """One pinned program.

    Attributes:
        name: its file name, unique in the registry.
        version: the pin, without `v`; empty for a program of our own.
        recipe: folder of its Go module, relative to the repository.
        package: import path of its main package.
        asks: how its version is learned; None for a program of our own.
        use: where it runs; only `Use.OPERATOR` is looked for on PATH.
        precision: how many leading numbers of the version must equal the pin's: 3 for all of them.
        tags: Go build tags.
        variables: package variable and value, set by the linker.
        cgo: needs a C compiler and pkg-config.
        environment: added to the build's environment.
        copies: modules to copy into the build folder.
        keeps: folder below the build folder and its name beside the finished program.
        seconds: a cold build after its neighbours in this registry, measured on two cores; for estimates.
    """

    name: str
    version: str
    recipe: str
    package: str
    asks: Question | Stamp | None
    use: Use
    seconds: int
    precision: int = 3
    tags: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    cgo: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    copies: tuple[ModuleCopy, ...] = ()
    keeps: tuple[tuple[str, str], ...] = ()

    @property
    def wanted(self) -> str:
        """The pin as people write it: `1.11.5`, `3.19.x`, `4.x`."""
        numbers = self.version.split(".")
        return ".".join([*numbers[: self.precision], *("x" for _ in numbers[self.precision : self.precision + 1])])

    def accepts(self, version: str) -> bool:
        """Whether a version satisfies the pin; a pre-release never equals a release."""
        if self.precision >= len(self.version.split(".")):
            return version == self.version
        numbers = version.split("-", maxsplit=1)[0].split(".")
        return numbers[: self.precision] == self.version.split(".")[: self.precision]


_KUBERNETES: Final = "1.34.1"
_TALOS: Final = "1.11.5"
_TALOS_MODULE: Final = "github.com/siderolabs/talos"
_FLUX_OPERATOR: Final = "github.com/controlplaneio-fluxcd/flux-operator"
_CNI: Final = "github.com/containernetworking/plugins"
_CONTAINERD: Final = "github.com/containerd/containerd/v2"
_HELM: Final = "helm.sh/helm/v3"
_CERT_MANAGER: Final = "github.com/cert-manager/cert-manager"
_EXTERNAL_SECRETS: Final = "github.com/external-secrets/external-secrets"

# Without these helm renders for Kubernetes 1.20 and charts with a `kubeVersion` fail.
_HELM_VARIABLES: Final = (
    (f"{_HELM}/internal/version.version", "v3.19.0"),
    (f"{_HELM}/pkg/chartutil.k8sVersionMajor", "1"),
    (f"{_HELM}/pkg/chartutil.k8sVersionMinor", "34"),
    (f"{_HELM}/pkg/lint/rules.k8sVersionMajor", "1"),
    (f"{_HELM}/pkg/lint/rules.k8sVersionMinor", "34"),
)
_KUBERNETES_VARIABLES: Final = (
    ("k8s.io/component-base/version.gitVersion", f"v{_KUBERNETES}"),
    ("k8s.io/component-base/version.gitMajor", "1"),
    ("k8s.io/component-base/version.gitMinor", "34"),
    ("k8s.io/component-base/version.gitTreeState", "clean"),
)
_KUBERNETES_ASKS: Final = Question(("--version",), r"^Kubernetes v(\S+)")


def _kubernetes(name: str, use: Use, seconds: int) -> Program:
    return Program(
        name=name, version=_KUBERNETES, recipe="tools/kubernetes", package=f"k8s.io/kubernetes/cmd/{name}",
        asks=_KUBERNETES_ASKS, use=use, seconds=seconds, variables=_KUBERNETES_VARIABLES,
    )  # fmt: skip


def _talos(name: str, package: str, seconds: int) -> Program:
    return Program(
        name=name, version=_TALOS, recipe="tools/talos", package=f"{_TALOS_MODULE}/{package}",
        asks=Stamp(_TALOS_MODULE), use=Use.MACHINE, seconds=seconds,
    )  # fmt: skip


def _containerd(name: str, pattern: str, seconds: int) -> Program:
    return Program(
        name=name, version="2.1.5", recipe="tools/containerd", package=f"{_CONTAINERD}/cmd/{name}",
        asks=Question(("-v",), pattern), use=Use.MACHINE, seconds=seconds, tags=("no_zfs", "no_btrfs"),
        variables=(
            (f"{_CONTAINERD}/version.Version", "v2.1.5"),
            (f"{_CONTAINERD}/version.Package", _CONTAINERD),
        ),
    )  # fmt: skip


def _cni(name: str, folder: str, seconds: int) -> Program:
    return Program(
        name=name, version="1.7.1", recipe="tools/cni", package=f"{_CNI}/plugins/{folder}/{name}",
        asks=Stamp(_CNI), use=Use.MACHINE, seconds=seconds,
        variables=((f"{_CNI}/pkg/utils/buildversion.BuildVersion", "v1.7.1"),),
    )  # fmt: skip


def _flux(name: str, version: str, seconds: int) -> Program:
    module = f"github.com/fluxcd/{name}"
    return Program(
        name=name, version=version, recipe=f"tools/{name}", package=module, asks=Stamp(module), use=Use.IMAGE,
        seconds=seconds,
    )  # fmt: skip


# In building order: programs of one recipe stand together, small ones that everybody needs come first.
_REGISTRY: Final = (
    Program(
        # Debian's `yq` is another program (a wrapper of jq): it prints `yq 0.0.0`.
        name="yq", version="4.47.2", recipe="tools/yq", package="github.com/mikefarah/yq/v4",
        asks=Question(("--version",), r"mikefarah/yq\S* version v?(\d\S*)"), use=Use.OPERATOR, precision=1,
        seconds=40,
    ),
    Program(
        name="talosctl", version=_TALOS, recipe="tools/talos", package=f"{_TALOS_MODULE}/cmd/talosctl",
        asks=Question(("version", "--client"), r"Tag:\s+v(\S+)"), use=Use.OPERATOR, seconds=150,
    ),
    replace(
        _talos("machined", "internal/app/machined", 55),
        tags=("tcell_minimal", "grpcnotrace"),
        # As in Talos' own build: where its fork of wgctrl looks for userspace sockets.
        variables=(("golang.zx2c4.com/wireguard/ipc.socketDirectory", "/system/wireguard-sock"),),
    ),
    replace(_talos("init", "internal/app/init", 2), tags=("tcell_minimal", "grpcnotrace")),
    _talos("installer", "cmd/installer", 5),
    Program(
        name="kubeconform", version="0.7.0", recipe="tools/kubeconform", use=Use.OPERATOR, precision=2,
        package="github.com/yannh/kubeconform/cmd/kubeconform", seconds=2,
        asks=Question(("-v",), r"^v?(\d+\.\d+\S*)"), variables=(("main.version", "v0.7.0"),),
    ),
    Program(
        name="kustomize", version="5.7.1", recipe="tools/kustomize", use=Use.OPERATOR, precision=2, seconds=9,
        package="sigs.k8s.io/kustomize/kustomize/v5", asks=Question(("version",), r"^v(\S+)"),
    ),
    Program(
        name="helm", version="3.19.0", recipe="tools/helm", package=f"{_HELM}/cmd/helm", use=Use.OPERATOR,
        asks=Question(("version", "--short"), r"^v(\d+\.\d+\.\d+[^\s+]*)"), precision=2, seconds=50,
        variables=_HELM_VARIABLES,
    ),
    Program(
        name="helmfile", version="1.1.7", recipe="tools/helmfile", package="github.com/helmfile/helmfile",
        asks=Question(("--version",), r"helmfile version v?(\S+)"), use=Use.OPERATOR, seconds=179,
    ),
    Program(
        name="kubectl", version=_KUBERNETES, recipe="tools/kubernetes", precision=2, use=Use.OPERATOR,
        asks=Question(("version", "--client", "-o", "json"), r'"gitVersion":\s*"v([^"+]+)'),
        package="k8s.io/kubernetes/cmd/kubectl", seconds=30, variables=_KUBERNETES_VARIABLES,
    ),
    _kubernetes("kube-apiserver", Use.IMAGE, 158),
    _kubernetes("kube-controller-manager", Use.IMAGE, 48),
    _kubernetes("kube-scheduler", Use.IMAGE, 4),
    _kubernetes("kube-proxy", Use.IMAGE, 7),
    _kubernetes("kubelet", Use.IMAGE, 20),
    Program(
        name="etcd", version="3.6.4", recipe="tools/etcd", package="go.etcd.io/etcd/server/v3", use=Use.IMAGE,
        asks=Question(("--version",), r"^etcd Version: (\S+)"), seconds=22,
    ),
    Program(
        name="registry", version="3.0.0", recipe="tools/registry", use=Use.LAB, seconds=56,
        package="github.com/distribution/distribution/v3/cmd/registry",
        asks=Question(("--version",), r"distribution/distribution/v3 v([^\s+]+)"),
    ),
    _containerd("containerd", r"containerd/v2 v(\S+)", 42),
    _containerd("containerd-shim-runc-v2", r"Version:\s+v(\S+)", 1),
    Program(
        name="runc", version="1.3.3", recipe="tools/runc", package="github.com/opencontainers/runc",
        asks=Question(("--version",), r"^runc version (\S+)"), tags=("seccomp",), cgo=True, seconds=12,
        use=Use.MACHINE, variables=(("main.version", "1.3.3"),),
    ),
    _cni("bridge", "main", 3),
    _cni("loopback", "main", 1),
    _cni("host-local", "ipam", 1),
    _cni("portmap", "meta", 1),
    _cni("firewall", "meta", 1),
    Program(
        name="coredns", version="1.12.4", recipe="tools/coredns", package="github.com/coredns/coredns",
        asks=Question(("-version",), r"^CoreDNS-(\S+)"), seconds=65, use=Use.IMAGE,
    ),
    _flux("source-controller", "1.7.3", 164),
    _flux("kustomize-controller", "1.7.2", 92),
    _flux("helm-controller", "1.4.3", 79),
    Program(
        name="flux-operator", version="0.58.1", recipe="tools/flux-operator", use=Use.IMAGE, seconds=120,
        package=f"{_FLUX_OPERATOR}/cmd/operator", asks=Stamp(_FLUX_OPERATOR),
        variables=(("main.VERSION", "v0.58.1"),),
        # It refuses to start outside of FIPS mode; this makes that mode the program's default.
        environment=(("GOFIPS140", "latest"),),
        copies=(
            ModuleCopy(
                module=_FLUX_OPERATOR, version="v0.58.1", into="module",
                digest="h1:ME/p3jGf5h9bNmQ5dhQBSjvj0G+7NTI1k3At+pCscis=",
                # The web page is embedded from a folder that the module does not hold.
                added=(("web/dist/index.html", "<!doctype html><title>flux-operator</title>\n"),),
            ),
        ),
        keeps=(("module/config/data", "data"),),  # the Flux manifests that `--storage-path` names
    ),
    Program(
        name="pause", version="3.10", recipe="tools/pause", package="firstlight.dev/tools/pause",
        asks=Question(("-v",), r"^pause (\S+)"), seconds=2, use=Use.IMAGE,
        variables=(("main.version", "3.10"),),
    ),
    Program(
        # Upstream's own packages for the commands of a probe pod: the whole program is 54 MB, most of it a client.
        name="agnhost", version="2.56", recipe="tools/agnhost", package="firstlight.dev/tools/agnhost",
        asks=Question(("--version",), r"^app version (\S+)"), seconds=4, use=Use.IMAGE,
        variables=(("main.version", "2.56"),),
    ),
    Program(
        # Controller, webhook and CA injector in one, by a main function that the recipe adds.
        name="cert-manager", version="1.19.1", recipe="tools/cert-manager", package=f"{_CERT_MANAGER}/lab",
        asks=Stamp(_CERT_MANAGER), use=Use.REHEARSAL, seconds=75,
        variables=((f"{_CERT_MANAGER}/pkg/util.AppVersion", "v1.19.1"),),
        copies=(
            ModuleCopy(
                module=_CERT_MANAGER, version="v1.19.1", into="_module",
                digest="h1:Txh8L/nLWTDcb7ZnXuXbTe15BxQnLbLirXmbNk0fGgY=",
            ),
        ),
    ),
    Program(
        # 0.20.4 is the nearest to the tree's 0.20.3 that is served; the recipe takes all providers but one away.
        name="external-secrets", version="0.20.4", recipe="tools/external-secrets", package=_EXTERNAL_SECRETS,
        asks=Stamp(_EXTERNAL_SECRETS), use=Use.REHEARSAL, seconds=60,
        copies=(
            ModuleCopy(
                module=_EXTERNAL_SECRETS, version="v0.20.4", into="_module",
                digest="h1:HhNAjWfFEshhItphr28SGsHzf2bUP7uDAOVLg76uNAg=",
            ),
        ),
    ),
    Program(
        name="lab-cilium", version="", recipe="lab/cilium", package="firstlight.dev/lab/cilium", asks=None,
        use=Use.IMAGE, seconds=5,
    ),
    Program(
        name="lab-spegel", version="", recipe="lab/spegel", package="firstlight.dev/lab/spegel", asks=None,
        use=Use.REHEARSAL, seconds=3,
    ),
    Program(
        name="lab-discovery", version="", recipe="lab/discovery", package="firstlight.dev/lab/discovery", asks=None,
        use=Use.LAB, seconds=1,
    ),
)  # fmt: skip

PROGRAMS: Final = MappingProxyType({program.name: program for program in _REGISTRY})
"""Every pinned program by name, in building order."""


def names_for(*uses: Use) -> tuple[str, ...]:
    """Names of the programs for some uses, in building order; of all programs when none is given."""
    return tuple(name for name, program in PROGRAMS.items() if not uses or program.use in uses)
