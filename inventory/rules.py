"""Rules over more than one field of an inventory file.

They read the raw document and pass over what is not well formed, so that they find something even where the
form of another field is wrong: everything is reported at once.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from inventory import facts, machines, networks
from inventory.findings import Finding, dotted
from inventory.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.host.yaml_io import Yaml

# First and last minor of Kubernetes 1.x that a minor of Talos 1.x runs (pkg/machinery/compatibility of Talos).
KUBERNETES_MINORS: Final = MappingProxyType({10: (28, 33), 11: (29, 34), 12: (30, 35)})


def check(document: Yaml, *, stem: str) -> tuple[Finding, ...]:
    """Every finding of every rule.

    Args:
        document: the file's content.
        stem: the file's name without its suffix.
    """
    view = View(document)
    named = view.text("name")
    findings = [finding for rule in RULES for finding in rule(view)]
    if named is not None and named != stem:
        findings.insert(0, Finding(("name",), f'`name` is "{named}" but the file is {stem}.yaml'))
    return tuple(findings)


def _references_fit_provider(view: View) -> Iterator[Finding]:
    provider = view.text("secrets", "provider")
    for key in ("talosBundle", "connectToken"):
        reference = view.text("secrets", key)
        if reference is not None and reference.startswith("op://") and provider in {"env", "file"}:
            yield Finding(
                ("secrets", key),
                f"`secrets.{key}`: nobody answers op:// references when the provider is {provider}",
            )


def _references_differ(view: View) -> Iterator[Finding]:
    reference = view.text("secrets", "connectToken")
    if reference is not None and reference == view.text("secrets", "talosBundle"):
        text = "the reference of `secrets.talosBundle`; the cluster would hold its own machine secrets"
        yield Finding(("secrets", "connectToken"), f"`secrets.connectToken`: {text}")


def _deadlines_after_targets(view: View) -> Iterator[Finding]:
    budgets = view.value("budgets")
    whole = view.number("budgets", "total", "target")
    for name in budgets if isinstance(budgets, dict) else ():
        target = view.number("budgets", name, "target")
        deadline = view.number("budgets", name, "deadline")
        if target is not None and deadline is not None and deadline < target:
            place = ("budgets", name, "deadline")
            yield Finding(place, f"`{dotted(place)}`: {deadline} s is before the target of {target} s")
        if target is not None and whole is not None and target > whole:
            place = ("budgets", name, "target")
            yield Finding(place, f"`{dotted(place)}`: {target} s is more than the {whole} s of `budgets.total`")


def _versions_together(view: View) -> Iterator[Finding]:
    talos, kubernetes = _minor(view.text("talosVersion")), _minor(view.text("kubernetesVersion"))
    known = KUBERNETES_MINORS.get(talos or 0)
    if known and kubernetes is not None and not known[0] <= kubernetes <= known[1]:
        text = f"Talos 1.{talos} runs Kubernetes 1.{known[0]} to 1.{known[1]}"
        yield Finding(("kubernetesVersion",), f"`kubernetesVersion`: {text}, found 1.{kubernetes}")


def _minor(version: str | None) -> int | None:
    parts = (version or "").split(".")
    return int(parts[1]) if len(parts) > 1 and parts[0] == "1" and parts[1].isdecimal() else None


RULES: Final[tuple[Callable[[View], Iterator[Finding]], ...]] = (
    *machines.RULES,
    *networks.RULES,
    *facts.RULES,
    _references_fit_provider,
    _references_differ,
    _deadlines_after_targets,
    _versions_together,
)
