"""What only the lab can show. One worker runs all of this: there is one lab."""

from __future__ import annotations

import json
import re
import shlex
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from gitops.applied import differences
from gitops.build import Kustomize
from gitops.conditions import titled
from gitops.loader import load
from gitops.tree import name_in
from phases.etcd import BOOTSTRAP_TAKEN
from phases.refs import CORE_RELEASES, LAST
from rehearsal.catalogue import FAULTS
from tests.lab.conftest import REHEARSAL_SECONDS, ROOT
from tests.scripted.contract import IN_MAINTENANCE, Question, Said, contract
from tests.scripted.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.conftest import HandedOver, World

pytestmark = pytest.mark.lab

AUDIT = "talosctl --nodes 10.25.13.11 read /var/log/audit/kube/kube-apiserver.log"
NODE = "10.25.13.11"
# Where the same machine answers before it is configured.
MAINTENANCE = "10.25.13.111"
# Each takes about a quarter of a minute.
LOOKS = 4
# Between what a command says and its exit code, which `lab.shell` keeps for itself.
MARK = "exit code of the command: "
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


def writes_of_ours(world: World) -> int:
    """Requests of our own identity that changed something, by the API server's audit log."""
    said = world.shell(AUDIT)
    assert said.exit_code == 0, said.stderr
    events = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
    ours = [
        event
        for event in events
        if event["user"].get("username") == "firstlight" and event["stage"] == "ResponseComplete"
    ]
    assert ours, "the audit log knows nothing of us, so it proves nothing"
    return sum(event["verb"] in WRITES for event in ours)


def test_runs_that_were_killed_at_every_boundary_are_finished_by_the_next(handed_over: HandedOver) -> None:
    assert len(handed_over.boundaries) >= 12
    assert {boundary.kind for boundary in handed_over.boundaries} == {"action begins", "action ended"}
    steps = {step["path"]: step for phase in handed_over.report["phases"] for step in phase["steps"]}
    assert "apply the machine configuration to lab-01" in handed_over.killed
    taken = handed_over.world.shell("talosctl --nodes 10.25.13.11 dmesg")
    assert taken.stdout.count(BOOTSTRAP_TAKEN) == 1
    # The second run did not configure the machine again: its answer was evidence enough.
    assert steps["talos/install"]["state"] == "done"
    assert steps["talos/install"]["actions"] == []
    assert steps["core/flux-instance"]["state"] == "done"


def test_flux_takes_over_and_changes_nothing(handed_over: HandedOver) -> None:
    said = handed_over.judged.stderr
    assert "5 of 5 Kustomizations Ready at" in said
    assert "objects valid" in said
    for release in (one.name for one in CORE_RELEASES if one is not LAST and not one.optional):
        (line,) = [line for line in said.splitlines() if f"{release} was adopted unchanged" in line]
        assert "no generation moved, no pod replaced or restarted" in line


def test_the_machine_tells_the_discovery_service_of_itself(handed_over: HandedOver) -> None:
    said = handed_over.world.shell(f"talosctl --nodes {NODE} get identity --output json")
    assert said.exit_code == 0, said.stderr
    heard = (handed_over.world.lab.folder / "logs" / "lab-discovery.log").read_text()
    assert f"heard of {json.loads(said.stdout)['spec']['nodeId']}" in heard


def test_the_model_of_the_tree_is_what_flux_applied(
    converged: World, programs: Callable[[str], Path], tmp_path: Path
) -> None:
    """Every object and every field, by what the real kustomize-controller owns of it."""
    tree = load(ROOT, "lab", Kustomize(converged.runner, programs("kustomize")))
    items = [item for _, item in tree.objects()]
    wanted = tmp_path / "wanted.json"
    wanted.write_text(json.dumps([[item["apiVersion"], item["kind"], *name_in(item)] for item in items]))
    reader = shlex.join([
        sys.executable, "-m", "tests.lab.read_objects", str(converged.state / "kubeconfig"), f"https://{NODE}:6443",
        str(wanted),
    ])  # fmt: skip
    said = converged.shell(f"cd {shlex.quote(str(ROOT))} && {reader}")
    assert said.exit_code == 0, said.stderr
    live = json.loads(said.stdout)
    assert len(live) == len(items) > 0
    found = {titled(item): differences(item, there or {}) for item, there in zip(items, live, strict=True)}
    assert {what: wrong for what, wrong in found.items() if wrong} == {}


def test_a_converged_cluster_is_left_alone(converged: World) -> None:
    first = converged.invoke("bootstrap", "--cluster", "lab")
    assert first.exit_code == 0, first.stderr
    before = writes_of_ours(converged)
    second = converged.invoke("bootstrap", "--cluster", "lab")
    assert second.exit_code == 0, second.stderr
    report = converged.report()
    assert (report["writes"], report["nothing_to_do"]) == (0, True)
    assert writes_of_ours(converged) == before


def test_a_reset_machine_comes_back_to_maintenance(in_maintenance: World) -> None:
    in_maintenance.at.append("reset")
    booted = in_maintenance.console().count("Linux version")
    assert in_maintenance.invoke("lab.fault", "--name", "reset").exit_code == 0
    in_maintenance.wait(
        lambda: in_maintenance.console().count("Linux version") == booted + 1, "the machine to boot again"
    )
    asked = f"talosctl --nodes {MAINTENANCE} get machinestatus --insecure"
    in_maintenance.wait(lambda: "maintenance" in in_maintenance.shell(asked).stdout, "maintenance mode")
    assert in_maintenance.invoke("lab.mend", "--name", "reset").stdout.strip() == "felt 1 times"


def test_a_registry_that_is_down_is_felt_by_the_charts(world: World) -> None:
    assert world.invoke("lab.fault", "--name", "registry-down").exit_code == 0
    pulled = world.shell("helm show chart oci://ghcr.io/coredns/charts/coredns --version 1.38.0")
    mended = world.invoke("lab.mend", "--name", "registry-down")
    assert pulled.exit_code != 0
    assert int(mended.stdout.split()[1]) > 0
    assert world.shell("helm show chart oci://ghcr.io/coredns/charts/coredns --version 1.38.0").exit_code == 0


def test_a_wrong_clock_is_told_to_the_machine(in_maintenance: World) -> None:
    in_maintenance.at.append("reset, clock ahead")
    assert in_maintenance.invoke("lab.fault", "--name", "clock", "--seconds", "7200").exit_code == 0
    # A machine that boots asks for the time at once.
    assert in_maintenance.invoke("lab.fault", "--name", "reset").exit_code == 0
    in_maintenance.wait(
        lambda: "by 1h59m" in in_maintenance.console() or "by 2h0m" in in_maintenance.console(), "the clock to jump"
    )
    mended = in_maintenance.invoke("lab.mend", "--name", "clock")
    assert int(mended.stdout.split()[1]) > 0


def test_a_bond_outlives_a_pulled_cable(converged: World) -> None:
    converged.at.append("cable pulled")
    asked = f"talosctl --nodes {NODE} read /proc/net/bonding/bond0"
    assert converged.invoke("lab.fault", "--name", "link-down").exit_code == 0
    # The answer itself comes over the other port.
    converged.wait(lambda: "MII Status: down" in converged.shell(asked).stdout, "the bond to notice")
    said = converged.shell(asked).stdout
    assert said.count("MII Status: down") == 1
    down = next(part for part in said.split("Slave Interface: ")[1:] if "MII Status: down" in part).split()[0]
    assert active_port(said) not in {"", "None", down}
    assert converged.invoke("lab.mend", "--name", "link-down").stdout.strip() == "felt 1 times"
    converged.wait(lambda: "MII Status: down" not in converged.shell(asked).stdout, "the cable to be seen again")


def active_port(bonding: str) -> str:
    """The port that an active-backup bond sends over, by the kernel's file."""
    return bonding.partition("Currently Active Slave: ")[2].partition("\n")[0]


def test_the_scripted_ring_says_what_the_lab_says(converged: World, tmp_path: Path) -> None:
    scenario = Scenario(tmp_path / "scripted")
    assert scenario.run().exit_code == 0
    # A machine that goes on from a snapshot catches up first, its clock and its kubelet's health last: what really
    # differs does so in the last look too.
    found = contract(partial(ask, converged), scenario.ask)
    for _ in range(LOOKS - 1):
        found = found and contract(partial(ask, converged), scenario.ask)
    assert found == []


def test_the_scripted_ring_says_what_a_machine_in_maintenance_says(in_maintenance: World, tmp_path: Path) -> None:
    assert contract(partial(ask, in_maintenance), Scenario(tmp_path / "scripted").ask, IN_MAINTENANCE) == []


def ask(world: World, question: Question) -> Said:
    """Ask the lab."""
    places = {"NODE": NODE, "MAINTENANCE": MAINTENANCE}
    command = shlex.join(re.sub("NODE|MAINTENANCE", lambda found: places[found[0]], word) for word in question.words)
    said = world.shell(f"{command}; code=$?; echo; echo '{MARK}'$code")
    stdout, _, code = said.stdout.rpartition(MARK)
    assert code.strip().isdigit(), said.stderr
    return Said(int(code), stdout.strip("\n"), said.stderr)


def test_a_bootstrap_that_a_killed_run_sent_is_not_sent_again(handed_over: HandedOver) -> None:
    """The kernel log of a real node says that it was taken, as the scripted ring's does."""
    steps = {step["path"]: step for phase in handed_over.report["phases"] for step in phase["steps"]}
    assert "bootstrap etcd on lab-01" in handed_over.killed
    assert steps["talos/etcd"]["actions"] == []


# rehearsals ------------------------------------------------------------------------------------------------------


@pytest.mark.rehearsal
@pytest.mark.parametrize("cluster", ["infra", "apps"])
def test_a_cluster_is_rehearsed_with_one_machine_to_a_green_verdict(
    rehearsals: Callable[[str], World], cluster: str
) -> None:
    place = rehearsals(cluster)
    ran = place.invoke("rehearse", "--cluster", cluster, "--nodes", "1", seconds=REHEARSAL_SECONDS)
    assert ran.exit_code == 0, ran.stderr
    assert f"REHEARSAL {cluster}: done" in ran.stderr
    report = place.report()
    assert report["mark"] == "REHEARSAL"
    steps = [step for phase in report["phases"] for step in phase["steps"]]
    assert {step["state"] for step in steps} <= {"done", "skipped"}
    kinds = {proof["criterion"]: proof["kind"] for step in steps for proof in step["proofs"]}
    # It starts the adoption, so nothing is known of it before.
    assert [criterion for criterion, kind in kinds.items() if kind == "unproven"] == [
        "flux-instance was adopted unchanged"
    ]
    adopted = {criterion.split()[0] for criterion in kinds if criterion.endswith("was adopted unchanged")}
    assert adopted == {one.name for one in CORE_RELEASES}
    assert place.lab.owner() == {}


@pytest.mark.rehearsal
def test_infra_is_rehearsed_with_three_machines_to_the_end_of_the_talos_phase(
    rehearsals: Callable[[str], World],
) -> None:
    infra = rehearsals("infra")
    ran = infra.invoke("rehearse", "--cluster", "infra", "--only", "preflight,talos", seconds=REHEARSAL_SECONDS)
    assert ran.exit_code == 0, ran.stderr
    assert "REHEARSAL infra: done" in ran.stderr
    report = infra.report()
    assert report["mark"] == "REHEARSAL"
    assert {step["state"] for phase in report["phases"] for step in phase["steps"]} <= {"done", "skipped"}
    assert infra.lab.owner() == {}


@pytest.mark.rehearsal
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_an_accident_of_the_catalogue_is_felt_and_ends_as_it_should(
    rehearsals: Callable[[str], World], fault: str
) -> None:
    ran = rehearsals("infra").invoke(
        "rehearse", "--cluster", "infra", "--nodes", "1", "--only", "preflight,talos", "--fault", fault
    )
    assert ran.exit_code == 0, ran.stderr
