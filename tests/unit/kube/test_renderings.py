"""What is kept of renderings: what they follow from, what is not as it was kept, what must not be kept."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.secret import Redactor
from kube.helm import pulled_digest
from kube.helmfile import Helmfile
from kube.renderings import Renderings, key_of

if TYPE_CHECKING:
    from collections.abc import Callable

OUTPUT = b"kind: ConfigMap\n"
CHART = "helmfile/oci__ghcr_io/demo/1.2.3/demo/Chart.yaml"
ARCHIVE = "cache/repository/web-1.2.3.tgz"


@dataclass(frozen=True)
class Bench:
    """Everything that a rendering follows from, as files."""

    root: Path
    words: tuple[str, ...] = ("1.34.1",)
    cluster: str = "infra"
    name: str = "01-core.yaml.gotmpl"
    names: tuple[str, ...] = field(default=("helm", "helmfile", "yq"))

    def file(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def key(self) -> str:
        programs = [self.root / name for name in self.names]
        file, environment = self.root / "helmfile.d" / self.name, {"FIRSTLIGHT_CORE": str(self.root / "core")}
        made = Helmfile(ShCommandRunner(Redactor()), programs[1], programs[0], file, self.cluster, environment)
        return key_of(made, programs, self.words, trust=str(self.root / "trust.crt"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    places = ("helmfile.d/01-core.yaml.gotmpl", "helmfile.d/templates/values.yaml.gotmpl", "core/cilium.yaml")
    for name in (*places, "core/releases.yaml", "trust.crt", *bench.names):
        bench.file(name).write_text(f"{name}\n")
    return bench


@pytest.fixture
def pulled(bench: Bench) -> Path:
    """A folder in which helmfile pulled two charts."""
    for name in (CHART, ARCHIVE, "cache/repository/web-index.yaml"):
        bench.file(f"pulled/{name}").write_text(f"{name}\n")
    return bench.root / "pulled"


@pytest.fixture
def renderings(bench: Bench, pulled: Path) -> Renderings:
    """One rendering is kept."""
    made = Renderings(bench.root / "renderings")
    made.keep("one", OUTPUT, pulled)
    return made


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("helmfile.d/01-core.yaml.gotmpl", id="helmfile"),
        pytest.param("helmfile.d/templates/values.yaml.gotmpl", id="template"),
        pytest.param("helmfile.d/further.yaml", id="further file of the helmfiles"),
        pytest.param("core/cilium.yaml", id="values"),
        pytest.param("core/releases.yaml", id="chart or version"),
        pytest.param("core/further.yaml", id="further release"),
        pytest.param("helm", id="helm"),
        pytest.param("helmfile", id="helmfile program"),
        pytest.param("yq", id="yq"),
        pytest.param("trust.crt", id="internet"),
    ],
)
def test_a_file_that_differs_gives_another_key(bench: Bench, change: str) -> None:
    before = bench.key()
    bench.file(change).write_text("something else\n")
    assert bench.key() != before
    assert bench.key() == bench.key()


@pytest.mark.parametrize(
    "other", [{"words": ("1.34.2",)}, {"cluster": "apps"}, {"name": "00-crds.yaml"}, {"names": ("helm", "helmfile")}]
)
def test_what_is_told_otherwise_gives_another_key(bench: Bench, other: dict[str, object]) -> None:
    bench.file("helmfile.d/00-crds.yaml").write_text("")
    assert replace(bench, **other).key() != bench.key()  # type: ignore[arg-type] # one field of the right type each


def test_what_is_kept_comes_back_with_its_charts(bench: Bench, renderings: Renderings) -> None:
    kept = renderings.find("one")
    assert kept
    assert kept.output == OUTPUT
    folder = bench.root / "other"
    bench.file("other/helmfile/oci__ghcr_io/demo/1.2.3/demo/templates/stale.yaml").write_text("")
    kept.restore(folder)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {CHART, ARCHIVE}
    assert pulled_digest(folder, "oci://ghcr.io/demo", "1.2.3") == pulled_digest(
        bench.root / "pulled", "oci://ghcr.io/demo", "1.2.3"
    )
    assert renderings.find("another") is None


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def add(path: Path) -> None:
    path.with_name("added").write_bytes(b"")


@pytest.mark.parametrize("place", ["output", "seal.json", f"charts/{CHART}", f"charts/{ARCHIVE}"])
@pytest.mark.parametrize("damage", [truncate, Path.unlink])
def test_what_is_not_as_it_was_kept_is_as_good_as_nothing(
    renderings: Renderings, pulled: Path, place: str, damage: Callable[[Path], None]
) -> None:
    damage(renderings.folder / "one" / place)
    assert renderings.find("one") is None
    renderings.keep("one", OUTPUT, pulled)
    assert renderings.find("one")


def test_a_chart_with_another_file_is_another_chart(renderings: Renderings) -> None:
    add(renderings.folder / "one" / "charts" / CHART)
    assert renderings.find("one") is None


@pytest.mark.parametrize(
    ("output", "is_kept"),
    [
        pytest.param(b"kind: Secret\ndata: {ca.key: eA==}\n", False, id="data"),
        pytest.param(b"kind: A\n---\nkind: 'Secret'\nstringData: {ca.key: x}\n", False, id="stringData, quoted"),
        pytest.param(b'{"kind":"Secret","data":{"a":"eA=="}}\n', False, id="JSON"),
        pytest.param(b"kind: Secret\n  data: [\n", False, id="cannot be read"),
        pytest.param(b"kind: Secret\nmetadata: {name: filled-in-later}\n", True, id="empty Secret"),
        pytest.param(b"kind: SecretStore\ndata: {a: b}\n", True, id="another kind"),
        pytest.param(b'{"kind":"A","text":"kind: Secret"}\n{"kind":"B"}\n', True, id="a text that speaks of one"),
    ],
)
def test_an_output_with_a_secret_is_not_kept(
    renderings: Renderings, pulled: Path, output: bytes, *, is_kept: bool
) -> None:
    renderings.keep("two", output, pulled)
    assert (renderings.find("two") is not None) is is_kept
    assert is_kept or [entry.name for entry in renderings.folder.iterdir()] == ["one"]


def test_what_was_not_used_for_longest_goes_first(renderings: Renderings, pulled: Path) -> None:
    for number, name in enumerate(("one", "two", "three")):
        renderings.keep(name, OUTPUT, pulled)
        os.utime(renderings.folder / name / "seal.json", (number, number))
    assert renderings.find("one")
    size = sum(path.stat().st_size for path in (renderings.folder / "one").rglob("*") if path.is_file())
    replace(renderings, most=2 * size).keep("four", OUTPUT, pulled)
    assert {entry.name for entry in renderings.folder.iterdir()} == {"one", "four"}


def test_what_another_is_writing_is_left_alone(renderings: Renderings, pulled: Path) -> None:
    for name, used in ((".new-dead", 0), (".new-writing", None)):
        (renderings.folder / name).mkdir()
        if used is not None:
            os.utime(renderings.folder / name, (used, used))
    renderings.keep("two", OUTPUT, pulled)
    assert {entry.name for entry in renderings.folder.iterdir()} == {".new-writing", "one", "two"}


def test_a_place_that_cannot_be_written_is_no_reason_to_fail(bench: Bench, pulled: Path) -> None:
    bench.file("renderings").write_text("a file\n")
    made = Renderings(bench.root / "renderings")
    made.keep("one", OUTPUT, pulled)
    assert made.find("one") is None
