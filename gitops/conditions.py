"""What an object of Flux says about itself: is it Ready, does it get on by itself, or must somebody act?

Reasons and words are those of source-controller 1.7.3, kustomize-controller 1.7.2, helm-controller 1.4.3 and
flux-operator 0.58.1, with go-git 5.16 and go-containerregistry below them. A reason that no row knows is waited for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.engine.step import Conflict
from bootstrap.host.errors import ExitCode
from bootstrap.host.objects import Object, flag, mapping, name_of, namespace_of, number, objects, text

if TYPE_CHECKING:
    from collections.abc import Mapping

# Credentials in a URL are all that Flux puts into a message that it should not.
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")
# A condition's message can hold a whole manifest; the beginning says what is wrong.
_LONGEST: Final = 400


@dataclass(frozen=True)
class Rule:
    """A row of the table: a reason of the condition Ready, and what it means for whoever waits.

    Attributes:
        kinds: of objects; empty for all.
        reason: of the condition.
        says: what is found in its message; empty for any message.
        means: what is so; for a state that ends by itself why it does.
        remedy: what a person must do; empty when the controller gets on by itself.
        retried: whether a condition Reconciling says that the controller has not given up.
    """

    kinds: frozenset[str]
    reason: str
    says: str
    means: str
    remedy: str = ""
    retried: bool = False

    def fits(self, kind: str, reason: str, message: str) -> bool:
        """Whether the row is about this condition."""
        is_about = (not self.kinds or kind in self.kinds) and self.reason == reason
        return is_about and re.search(self.says, message, re.IGNORECASE) is not None


_GIT: Final = frozenset({"GitRepository"})
_OCI: Final = frozenset({"OCIRepository"})
_HELM_SOURCE: Final = frozenset({"HelmChart", "HelmRepository"})
_SOURCES: Final = _GIT | _OCI | _HELM_SOURCE
_APPLIED: Final = frozenset({"Kustomization"})
_RELEASE: Final = frozenset({"HelmRelease"})
_INSTANCE: Final = frozenset({"FluxInstance"})

_REFUSED: Final = r"authenti\w+ required|authorization failed|unauthorized|denied|unable to authenticate|\b40[13]\b"
_HOST_KEY: Final = r"knownhosts|known_hosts|host key"
_NOT_VALID_NOW: Final = r"expired or is not yet valid"
_AUTHORITY: Final = r"x509:|failed to verify certificate"
_NO_REF: Final = r"unable to resolve ref|find remote ref|find reference|reference not found|no match found for semver"
_ABSENT: Final = r"manifest.unknown|name.unknown|404 not found|no match found for semver"
_RETRY: Final = "the network and the server may come back"

_WITH_CREDENTIALS: Final = "correct the Secret that its spec.secretRef names, or for Flux' own source sync.pullSecret"
_WITH_AUTHORITY: Final = "put the authority into ca.crt of the Secret that its spec.secretRef (certSecretRef) names"

RULES: Final = (
    Rule(
        _SOURCES, "AuthenticationFailed", "", "the credentials are missing or cannot be used", _WITH_CREDENTIALS,
    ),
    Rule(_GIT, "GitOperationFailed", _HOST_KEY, "the server shows a host key that is not known",
         "check the key with the server's owner, then put it into known_hosts of the Secret: ssh-keyscan <host>"),
    Rule(_GIT, "GitOperationFailed", _NOT_VALID_NOW, "clocks that are not in sync yet make a certificate invalid"),
    Rule(_GIT, "GitOperationFailed", _AUTHORITY, "the server's certificate is not one that is trusted",
         _WITH_AUTHORITY),
    Rule(_GIT, "GitOperationFailed", _REFUSED, "the server refuses the credentials", _WITH_CREDENTIALS),
    Rule(_GIT, "GitOperationFailed", _NO_REF, "the server does not have the ref",
         "push it: git push <url> HEAD:<ref>; or correct git.ref in the inventory and in cluster-settings"),
    Rule(_GIT, "GitOperationFailed", "repository not found", "the server does not show the repository",
         "correct git.url in the inventory and in cluster-settings, or the credentials"),
    Rule(_GIT, "GitOperationFailed", "", _RETRY),
    Rule(_SOURCES, "VerificationError", "", "the signature is not one that is trusted",
         "sign what is fetched, or correct spec.verify"),
    Rule(_OCI, "OCIArtifactPullFailed", _NOT_VALID_NOW, "clocks that are not in sync yet make a certificate invalid"),
    Rule(_OCI, "OCIArtifactPullFailed", _AUTHORITY, "the registry's certificate is not one that is trusted",
         _WITH_AUTHORITY),
    Rule(_OCI, "OCIArtifactPullFailed", _REFUSED, "the registry refuses the credentials", _WITH_CREDENTIALS),
    Rule(_OCI, "OCIArtifactPullFailed", _ABSENT, "the registry does not have it",
         "correct spec.url or spec.ref, or push it"),
    Rule(_OCI, "OCIArtifactPullFailed", "", _RETRY),
    Rule(_OCI, "OCIArtifactLayerOperationFailed", "", "the artifact does not hold what is wanted of it",
         "correct spec.layerSelector, or push a Helm chart"),
    Rule(_HELM_SOURCE, "InvalidChartReference", "", "the chart or its version is not in the repository",
         "correct chart and version of the HelmRelease"),
    Rule(_HELM_SOURCE, "ChartPullError", "", _RETRY),
    Rule(_HELM_SOURCE, "IndexationFailed", "", _RETRY),
    Rule(_HELM_SOURCE, "NoSourceArtifact", "", "the repository's index is fetched first"),
    Rule(_APPLIED, "ArtifactFailed", "kustomization path not found", "the folder is not in the commit",
         "correct spec.path, or commit and push the folder"),
    Rule(_APPLIED, "ArtifactFailed", "", "it begins when its source has an artifact"),
    Rule(_APPLIED, "BuildFailed", r"substitute from .*not found", "another Kustomization may bring the variables"),
    Rule(_APPLIED, "BuildFailed", "", "its manifests cannot be built",
         "build it here: ./invoke bootstrap --dry-run names file and line; correct, commit, push"),
    Rule(_APPLIED, "ReconciliationFailed", r"dry-run failed \((?:Invalid|Forbidden|BadRequest)\)",
         "the API refuses an object of it", "correct the object, commit, push"),
    Rule(_APPLIED, "ReconciliationFailed", "", "definitions, webhooks and the API may come yet"),
    Rule(_APPLIED, "PruneFailed", "", "it is tried again"),
    Rule(_APPLIED, "HealthCheckFailed", "", "what it applied may become healthy, and tells of itself what is wrong"),
    Rule(_RELEASE, "SourceNotReady", "", "its chart is fetched first"),
    Rule(_RELEASE, "ArtifactFailed", "", "its chart is fetched first"),
    Rule(_RELEASE, "ValuesError", "not found", "others may bring the values"),
    Rule(_RELEASE, "ValuesError", "", "its values cannot be read", "correct its valuesFrom, commit, push"),
    *(
        Rule(_RELEASE, reason, "", "helm failed and it is not tried again",
             "read what helm says; correct, commit, push, or ask again by the annotation reconcile.fluxcd.io/forceAt",
             retried=True)
        for reason in ("InstallFailed", "UpgradeFailed", "RollbackFailed", "UninstallFailed", "TestFailed")
    ),
    Rule(_INSTANCE, "ArtifactFailed", "", _RETRY),
    Rule(_INSTANCE, "BuildFailed", "", "the operator cannot make Flux' manifests of it",
         "correct the values of the release flux-instance, commit, push"),
    Rule(_INSTANCE, "ReconciliationFailed", r"dry-run failed \((?:Invalid|Forbidden|BadRequest)\)",
         "the API refuses an object of it", "correct the values of the release flux-instance, commit, push"),
    Rule(_INSTANCE, "ReconciliationFailed", "", "it is tried again"),
    Rule(frozenset(), "DependencyNotReady", "", "what it depends on tells of itself what is wrong"),
    Rule(frozenset(), "Progressing", "", "it is being worked on"),
    Rule(frozenset(), "ProgressingWithRetry", "", "it is tried again"),
)  # fmt: skip


@dataclass(frozen=True)
class Trouble:
    """Why an object is not Ready.

    Attributes:
        seen: one line, masked.
        conflict: when no waiting mends it.
    """

    seen: str
    conflict: Conflict | None = None


def trouble(item: Object) -> Trouble | None:
    """Why an object of Flux is not Ready with its current generation; None when it is."""
    what = titled(item)
    if flag(mapping(item, "spec"), "suspend"):
        return refused(f"{what} is suspended", remedy=_resume(item))
    conditions = {text(one, "type"): one for one in objects(item, "status", "conditions")}
    ready = conditions.get("Ready")
    if ready is None:
        return Trouble(f"{what} has no condition yet")
    behind = _behind(item, ready)
    if text(ready, "status") == "True":
        return Trouble(f"{what}: {behind}") if behind else None
    stalled = "stalled" if text(conditions.get("Stalled", {}), "status") == "True" else ""
    # An object that never got through says why, and never observes its generation.
    said = f"{text(ready, 'reason')}: {text(ready, 'message')}"
    seen = masked("; ".join([f"{what}: {said}", *filter(None, (stalled, behind))]))
    return Trouble(seen, _conflict(item, conditions))


def refused(fact: str, *, cause: str = "", remedy: str = "") -> Trouble:
    """A trouble that no waiting mends."""
    return Trouble(
        masked(f"{fact}: {cause}" if cause else fact),
        Conflict(fact, cause=masked(cause), remedy=remedy, exit_code=ExitCode.FAILED),
    )


def titled(item: Object) -> str:
    """Kind, namespace and name."""
    return f"{text(item, 'kind')} {namespace_of(item)}/{name_of(item)}"


def masked(message: str) -> str:
    """A message without credentials, on one line, not longer than a person reads."""
    return _CREDENTIALS.sub("[redacted]@", " ".join(message.split()))[:_LONGEST]


def rule_for(kind: str, reason: str, message: str) -> Rule | None:
    """The first row that is about a condition; None when no row is."""
    return next((rule for rule in RULES if rule.fits(kind, reason, message)), None)


def _conflict(item: Object, conditions: Mapping[str, Object]) -> Conflict | None:
    ready = conditions["Ready"]
    # A condition of an earlier generation says nothing of what is wanted.
    if number(ready, "observedGeneration") not in {0, number(item, "metadata", "generation")}:
        return None
    reason, message = text(ready, "reason"), text(ready, "message")
    rule = rule_for(text(item, "kind"), reason, message)
    is_tried_again = rule is not None and rule.retried and _holds(conditions, "Reconciling")
    if rule is not None and rule.remedy and not is_tried_again:
        return refused(f"{titled(item)}: {rule.means}", cause=f"{reason}: {message}", remedy=rule.remedy).conflict
    if _holds(conditions, "Stalled"):
        stalled = conditions["Stalled"]
        cause = f"{text(stalled, 'reason')}: {text(stalled, 'message')}"
        remedy = "correct what it says, commit, push: its controller waits for a change"
        return refused(f"{titled(item)} is stalled", cause=cause, remedy=remedy).conflict
    return None


def _holds(conditions: Mapping[str, Object], name: str) -> bool:
    return text(conditions.get(name, {}), "status") == "True"


def _behind(item: Object, ready: Object) -> str:
    # Flux's controllers note it in the status, flux-operator in the condition.
    observed = number(item, "status", "observedGeneration") or number(ready, "observedGeneration")
    wanted = number(item, "metadata", "generation")
    return "" if observed == wanted else f"generation {wanted} is not observed yet"


def _resume(item: Object) -> str:
    group = text(item, "apiVersion").partition("/")[0]
    patch = """'{"spec":{"suspend":false}}'"""
    what = f"{text(item, 'kind').lower()}.{group}/{name_of(item)}"
    return f"kubectl -n {namespace_of(item)} patch {what} --type merge -p {patch}; in Git too, where the tree has it"
