"""Custom resource definitions have one owner, and are of the version of the controller that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import Object, dig, mapping, objects, text
from checks.installed import containers
from kube.cluster import CUSTOM_RESOURCE_DEFINITION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bootstrap.host.errors import Problem
    from bootstrap.host.yaml_io import Yaml
    from checks.installed import Installed

# What Flux does with the folder crds/ of a chart; the default of an installation is to create them.
_SKIP: Final = "Skip"


@dataclass(frozen=True)
class Bundle:
    """A chart that the phase `crds` takes definitions from.

    Attributes:
        name: of its release in the helmfile.
        namespace: of the same.
        chart: its name.
        switches: the values that make it print definitions; empty where they lie in its folder crds/.
    """

    name: str
    namespace: str
    chart: str
    switches: tuple[tuple[str, ...], ...]

    def is_of(self, one: Installed) -> bool:
        """Whether a release runs the controller of these definitions."""
        names = {(self.namespace, self.name)}
        return (one.release.namespace, one.release.release_name) in names or one.chart_name == self.chart


def bundles(helmfile: Sequence[Yaml]) -> tuple[Bundle, ...]:
    """The charts of `00-crds.yaml`.

    Args:
        helmfile: its documents.
    """
    return tuple(
        Bundle(
            text(release, "name"),
            text(release, "namespace"),
            text(release, "chart").rpartition("/")[2],
            tuple(place for values in objects(release, "values") for place in _switches(values)),
        )
        for document in helmfile
        for release in objects(document, "releases")
    )


def check(every: Sequence[Installed], known: Sequence[Bundle]) -> Iterator[Problem]:
    """Releases that would write definitions of the phase `crds`, and controllers of another version than those."""
    for one in every:
        for bundle in (bundle for bundle in known if bundle.is_of(one)):
            yield from _switched_on(one, bundle)
            yield from _other_images(one)
        count = sum(item.get("kind") == CUSTOM_RESOURCE_DEFINITION[1] for item in one.objects)
        if count:
            yield one.problem(f"its chart renders {count} definitions, which the phase crds owns")


def _switched_on(one: Installed, bundle: Bundle) -> Iterator[Problem]:
    owner = "the phase crds owns the definitions of this chart"
    for place in bundle.switches:
        if dig(one.release.values, *place) is not False:
            yield one.problem(f"`{'.'.join(place)}` must be false: {owner}", *place)
    if bundle.switches:
        return
    for action, fine in (("install", {_SKIP}), ("upgrade", {_SKIP, ""})):
        if text(one.item, "spec", action, "crds") not in fine:
            yield one.problem_in_spec(f"`spec.{action}.crds` must be {_SKIP}: {owner}", action, "crds")


def _other_images(one: Installed) -> Iterator[Problem]:
    """Images of the chart's own name have the chart's version; whatever else it runs has versions of its own."""
    wanted = one.release.version.removeprefix("v")
    images = {text(container, "image") for _, pod in one.pods() for container in containers(pod)}
    for image in sorted(images):
        repository, _, tag = image.partition("@")[0].rpartition(":")
        name = repository.rpartition("/")[2]
        if name != one.chart_name and not name.startswith(f"{one.chart_name}-"):
            continue
        if tag.removeprefix("v") != wanted:
            yield one.problem(f"runs {image}, and its definitions are of {one.release.version}", "image", "tag")


def _switches(values: Object, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        if value is True:
            yield (*at, key)
        elif isinstance(value, dict):
            yield from _switches(mapping(value), (*at, key))
