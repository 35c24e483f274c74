"""Helm's own state, read from its storage in the cluster, and the surroundings in which helm may run."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.objects import Object, dig, mapping, name_of, namespace_of, number, objects, text
from kube.cluster import SECRET
from kube.errors import KubeError, KubeErrorKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bootstrap.host.yaml_io import Yaml
    from kube.cluster import Reading

# Type and labels of helm 3's storage (helm v3.19.0, pkg/storage/driver/secrets.go).
_STORAGE_TYPE: Final = "helm.sh/release.v1"
_GZIP_MAGIC: Final = b"\x1f\x8b\x08"


@dataclass(frozen=True)
class Release:
    """One revision of a helm release, as helm stored it.

    Attributes:
        name: the release's name.
        namespace: where it is installed.
        revision: counts from 1.
        status: `deployed`, `superseded`, `failed`, `pending-install`, ...
        chart: the chart's name.
        version: the chart's version.
        values: what was given to the chart, without its defaults.
        manifest: everything rendered but hooks, as YAML text; may hold secrets.
        chart_files: name and content digest of each file of the chart.
        deployed_by: the program that stored it: `Helm` or `helm-controller`.
        description: helm's own word on how it went.
        began: when the operation that wrote it began, by the clock of the machine on which that helm ran; None when
            it does not say.
        stored: resourceVersion of the Secret that holds it.
    """

    name: str
    namespace: str
    revision: int
    status: str
    chart: str
    version: str
    values: Object
    manifest: str
    chart_files: Mapping[str, str]
    deployed_by: str
    description: str
    began: datetime | None = None
    stored: str = ""

    def objects(self) -> list[Object]:
        """The objects of the manifest, their namespace filled in as far as the manifest gives it.

        Raises:
            InputError: the manifest is not YAML.
        """
        source = f"manifest of {self.namespace}/{self.name} revision {self.revision}"
        return [item for item in yaml_io.load_all(self.manifest, source=source) if isinstance(item, dict)]

    def chart_digest(self, key: bytes) -> str:
        """A keyed digest over the chart's name, version and files, 12 hexadecimal digits."""
        return digest([self.chart, self.version, dict(self.chart_files)], key)

    def values_digest(self, key: bytes) -> str:
        """A keyed digest of the values, 12 hexadecimal digits."""
        return digest(self.values, key)


def digest(value: Yaml, key: bytes) -> str:
    """A keyed digest of any JSON-like value, equal for equal values whatever the order of keys."""
    # 1.0 and 1 are one number to the API server and to Go's encoder, not to Python's.
    canonical = json.dumps(_whole(value), sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(key, canonical, hashlib.sha256).hexdigest()[:12]


def history(cluster: Reading, name: str, namespace: str) -> list[Release]:
    """Every stored revision of a release, oldest first; empty when there is none.

    Raises:
        KubeError: the cluster cannot be asked, or a stored release cannot be read.
    """
    found = cluster.list_objects(SECRET, namespace, labels=f"owner=helm,name={name}", fields=f"type={_STORAGE_TYPE}")
    return sorted((decode(secret) for secret in found), key=lambda release: release.revision)


def latest(cluster: Reading, name: str, namespace: str) -> Release | None:
    """The newest revision of a release; None when it was never installed.

    Raises:
        KubeError: as `history`.
    """
    found = history(cluster, name, namespace)
    return found[-1] if found else None


def statuses(cluster: Reading, namespace: str = "") -> dict[tuple[str, str], tuple[int, str]]:
    """Revision and status of the newest revision of every release, by namespace and name; nothing is decoded.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for secret in cluster.list_objects(SECRET, namespace, labels="owner=helm", fields=f"type={_STORAGE_TYPE}"):
        labels = mapping(secret, "metadata", "labels")
        key = (namespace_of(secret), text(labels, "name"))
        newest[key] = max(newest.get(key, (0, "")), (int(text(labels, "version") or 0), text(labels, "status")))
    return newest


def decode(secret: Object) -> Release:
    """The release inside one of helm's storage secrets.

    Raises:
        KubeError: it does not hold what helm 3 writes.
    """
    release = unpacked(secret)
    return Release(
        name=text(release, "name"),
        namespace=text(release, "namespace"),
        revision=number(release, "version"),
        status=text(release, "info", "status"),
        chart=text(release, "chart", "metadata", "name"),
        version=text(release, "chart", "metadata", "version"),
        values=mapping(release, "config"),
        manifest=text(release, "manifest"),
        chart_files=_chart_files(mapping(release, "chart")),
        deployed_by=_writer(secret),
        description=text(release, "info", "description"),
        began=_time(text(release, "info", "last_deployed")),
        stored=text(secret, "metadata", "resourceVersion"),
    )


def storage_name(name: str, revision: int) -> str:
    """The name of the Secret that holds a revision (helm v3.19.0, pkg/storage/storage.go)."""
    return f"sh.helm.release.v1.{name}.v{revision}"


def unpacked(secret: Object) -> Object:
    """What one of helm's storage secrets holds, every field of it.

    Raises:
        KubeError: it does not hold what helm 3 writes.
    """
    try:
        packed = base64.b64decode(base64.b64decode(text(secret, "data", "release")))
        content = gzip.decompress(packed) if packed.startswith(_GZIP_MAGIC) else packed
        return mapping(json.loads(content))
    except (ValueError, OSError, EOFError):
        raise KubeError(
            KubeErrorKind.INVALID, f"helm's secret {namespace_of(secret)}/{name_of(secret)} cannot be read",
            cause="it does not hold a release of helm 3",
        ) from None  # fmt: skip


def packed(content: Object) -> str:
    """The inverse of `unpacked`, for `data.release`: helm's base64 of gzip of JSON, in the base64 of a Secret."""
    # As short as Go writes it: a Secret holds 1 MiB, and the largest charts come close.
    written = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.b64encode(base64.b64encode(gzip.compress(written, mtime=0))).decode()


def helm_environment(folder: Path, *, server: str = "") -> dict[str, str]:
    """Environment for helm and helmfile that shares nothing with the user's own, nor with another process.

    helmfile deletes and pulls OCI charts in its cache without a lock (helmfile#2387): one folder a process.

    Args:
        folder: under the state folder; made when it is missing.
        server: the API server's URL where it is not the kubeconfig's.
    """
    places = {
        "DOCKER_CONFIG": "docker",  # credential helpers of the user's own would be run
        "HELMFILE_CACHE_HOME": "helmfile",
        "HELM_CACHE_HOME": "cache",
        "HELM_CONFIG_HOME": "config",
        "HELM_DATA_HOME": "data",
        "HELMFILE_TEMPDIR": "tmp",
    }
    for place in places.values():
        (folder / place).mkdir(parents=True, exist_ok=True)
    environment = {name: str(folder / place) for name, place in places.items()}
    environment["HELMFILE_UPGRADE_NOTICE_DISABLED"] = "true"
    if server:
        environment["HELM_KUBEAPISERVER"] = server
    return environment


def pulled_chart(folder: Path, chart: str, version: str) -> Path | None:
    """Where helmfile left a chart that it pulled: a folder, or an archive; None when it pulled no such chart there.

    Args:
        folder: as given to `helm_environment`.
        chart: `oci://...`, or a name in a repository.
        version: exact.
    """
    name = chart.rpartition("/")[2]
    archive = folder / "cache" / "repository" / f"{name}-{version}.tgz"
    if archive.exists():
        return archive
    return next(iter(sorted((folder / "helmfile").glob(f"**/{version}/{name}"))), None)


def pulled_digest(folder: Path, chart: str, version: str) -> str:
    """A digest of the chart that helmfile pulled, 12 hexadecimal digits; the same chart gives the same one.

    Args:
        folder: as given to `helm_environment`.
        chart: `oci://...`, or a name in a repository.
        version: exact.

    Returns:
        Empty when no such chart was pulled there.
    """
    pulled = pulled_chart(folder, chart, version)
    if pulled is None:
        return ""
    files = [path for path in (pulled, *sorted(pulled.rglob("*"))) if path.is_file()]
    found = hashlib.sha256()
    for path in files:
        found.update(f"{path.relative_to(pulled)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return found.hexdigest()[:12]


def differing(found: Yaml, wanted: Yaml, at: str = "") -> list[str]:
    """The paths at which two JSON-like values differ; never what stands there."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted({*found, *wanted})
        return [place for key in keys for place in differing(found.get(key), wanted.get(key), f"{at}.{key}".strip("."))]
    return [] if _whole(found) == _whole(wanted) else [at]


def _chart_files(chart: Object) -> dict[str, str]:
    found = {
        text(file, "name"): hashlib.sha256(text(file, "data").encode()).hexdigest()
        for place in ("templates", "files")
        for file in objects(chart, place)
    }
    for part in ("values", "schema", "metadata"):
        content = json.dumps(dig(chart, part), sort_keys=True)
        found[f"<{part}>"] = hashlib.sha256(content.encode()).hexdigest()
    return found


def _writer(secret: Object) -> str:
    """The manager that created the secret: later status changes of a revision are made by its successor."""
    entries = objects(secret, "metadata", "managedFields")
    creators = [text(entry, "manager") for entry in entries if "f:type" in mapping(entry, "fieldsV1")]
    return creators[0] if creators else ""


def _time(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _whole(value: Yaml) -> Yaml:
    if isinstance(value, dict):
        return {key: _whole(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
