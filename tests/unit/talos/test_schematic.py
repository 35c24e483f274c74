"""Ids of schematics: those of the image factory's own tests, and what its YAML library does with texts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError
from inventory.loader import load
from talos import schematic

ROOT = Path(__file__).parents[3]
# Documents and ids of siderolabs/image-factory, pkg/schematic/schematic_test.go.
FACTORY = [
    ("{}", schematic.PLAIN),
    ("customization: {}", schematic.PLAIN),
    ("customization: {extraKernelArgs: []}", schematic.PLAIN),
    (
        "customization: {extraKernelArgs: [noapic, nolapic], systemExtensions: {}}",
        "9cba8e32753f91a16c1837ab8abf356af021706ef284aef07380780177d9a06c",
    ),
    (
        "customization: {meta: [{key: 10, value: foo}], extraKernelArgs: []}",
        "d308a2a5ee2277bed5fbaa104fcbc8d59122abfa737df987a95b4ca763459a7f",
    ),
    (
        "overlay: {name: rpi_generic, image: siderolabs/sbc-raspberrypi}",
        "ee21ef4a5ef808a9b7484cc0dda0f25075021691c8c09a276591eedb638ea1f9",
    ),
    (
        "customization: {secureboot: {includeWellKnownCertificates: true}}",
        "fa8e05f142a851d3ee568eb0a8e5841eaf6b0ebc8df9a63df16ac5ed2c04f3e6",
    ),
]
PERFORMANCE = """\
customization:
    extraKernelArgs:
        - module_blacklist=e1000e
        - -init_on_alloc
        - mitigations=off
        - talos.auditd.disabled=1
        - "on"
        - "1"
        - 'note: this'
        - '{}'
    systemExtensions:
        officialExtensions:
            - siderolabs/i915
            - siderolabs/iscsi-tools
"""


@pytest.mark.parametrize(("document", "expected"), FACTORY, ids=[document for document, _ in FACTORY])
def test_ids_of_the_factory(document: str, expected: str) -> None:
    assert schematic.compute_id(yaml_io.load(document, source="x"), source="x") == expected


def test_texts_are_quoted_as_the_factory_does() -> None:
    found = schematic.compute_id(yaml_io.load(PERFORMANCE, source="x"), source="x")
    assert found == hashlib.sha256(PERFORMANCE.encode()).hexdigest()


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("customisation: {}", "`customisation` is unknown; known: overlay, customization"),
        ("customization: {extraKernelArg: []}", "`customization.extraKernelArg` is unknown"),
        ("customization: {extraKernelArgs: [on]}", "true is not a text; put it in quotes"),
        ("customization: {extraKernelArgs: noapic}", "`extraKernelArgs` is not a list"),
        ('customization: {extraKernelArgs: ["a\\nb"]}', "holds characters whose canonical form is not known"),
        ("customization: {meta: [{key: a, value: foo}]}", '"a" is not a number'),
        ("[]", "the document is not a mapping"),
    ],
)
def test_what_the_factory_would_refuse(document: str, text: str) -> None:
    with pytest.raises(InputError, match="is not a schematic whose id can be computed") as caught:
        schematic.compute_id(yaml_io.load(document, source="x"), source="talos/lab/schematic.yaml")
    assert text in str(caught.value)
    assert "talos/lab/schematic.yaml: " in str(caught.value)


def test_install_image_of_the_lab_is_the_plain_one() -> None:
    assert schematic.install_image(ROOT, load(ROOT, "lab")) == "ghcr.io/siderolabs/installer:v1.11.5"


def test_install_image_of_a_schematic_is_the_factory_s(tmp_path: Path) -> None:
    folder = tmp_path / "talos" / "lab"
    folder.mkdir(parents=True)
    (folder / "schematic.yaml").write_text("customization: {extraKernelArgs: [noapic, nolapic]}")
    expected = f"factory.talos.dev/metal-installer/{FACTORY[3][1]}:v1.11.5"
    assert schematic.install_image(tmp_path, load(ROOT, "lab")) == expected
