"""etcd: a cluster is made once by a bootstrap; whoever comes later joins as a learner, one at a time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from inventory.model import Role
from tests.scripted.accidents import Accidents, Moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scripted.machines import Delays
    from tests.scripted.model import Model
    from tests.scripted.ports import Machine

_KEY = "etcd"


class Etcd:
    """The etcd clusters of a world: usually none or one.

    A machine's `data` names the cluster whose data its directory holds, `etcd` is what its process is: nothing while
    it waits, `starting`, `learner` or `running`.

    Args:
        model: the world.
        delays: how long a start, a join and a promotion take.
        started: told of a machine whose etcd is a voting member.
    """

    def __init__(self, model: Model, delays: Callable[[], Delays], started: Callable[[Machine], None]) -> None:
        self._model = model
        self._delays = delays
        self._started = started
        self._accidents = Accidents(model)
        model.hears({"etcd": self._begin, "join": self._join, "promote": self._promote})

    def clusters(self) -> dict[str, list[dict[str, Any]]]:
        """The members of each cluster: name, id, address, learner."""
        found: dict[str, list[dict[str, Any]]] = self._model.get(_KEY, {})
        return found

    def members(self, machine: Machine) -> list[dict[str, Any]]:
        """The members that a machine's own etcd knows."""
        return self.clusters().get(machine["data"], [])

    def is_healthy(self, machine: Machine) -> bool:
        """Whether a machine's etcd has a leader: more than half of the voters run."""
        return machine["etcd"] == "running" and self._has_leader(machine["data"])

    def bootstrap(self, machine: Machine) -> None:
        """Take the intent; a reboot before etcd has begun takes it away (siderolabs/omni#3323)."""
        machine["etcd"] = "starting"
        self._model.put_machine(machine)
        self._model.after(self._delays().etcd, "etcd", f"{machine['name']} {machine['boot']}")

    def create(self, machine: Machine, name: str = "") -> None:
        """Make a cluster with one member, whose name is the machine's if none is given."""
        identity = f"etcd-{machine['name']}"
        self._save(identity, [{**_member(machine, learner=False), "name": name or machine["name"]}])
        machine.update(data=identity, etcd="running")
        self._model.put_machine(machine)
        self._started(machine)

    def boot(self, machine: Machine) -> None:
        """What etcd does when its machine has booted."""
        if machine["role"] != Role.CONTROL_PLANE.value:
            return
        if machine["data"]:
            is_learner = any(one["learner"] for one in self.members(machine) if one["name"] == machine["name"])
            machine["etcd"] = "learner" if is_learner else "running"
            self._model.put_machine(machine)
            if not is_learner:
                self._started(machine)
        self.wake()

    def wake(self) -> None:
        """Let one of those that wait to join try."""
        for machine in self._model.machines():
            if self._waits(machine) and self._to_join(machine):
                self._model.after(self._delays().join, "join", machine["name"])
                return

    def _waits(self, machine: Machine) -> bool:
        is_up = machine["stage"] == "running" and not machine["off"]
        return is_up and machine["role"] == Role.CONTROL_PLANE.value and not machine["data"] and not machine["etcd"]

    def _to_join(self, machine: Machine) -> str:
        """The cluster that a machine finds, as Talos' discovery shows it: of its own Talos cluster, with a leader."""
        for other in self._model.machines():
            is_one = other["cluster"] == machine["cluster"] and other["data"] and other["etcd"] == "running"
            if is_one and self._has_leader(other["data"]):
                return str(other["data"])
        return ""

    def _has_leader(self, identity: str) -> bool:
        voters = [one["address"] for one in self.clusters().get(identity, []) if not one["learner"]]
        up = [
            each["address"]
            for each in self._model.machines()
            if each["data"] == identity and each["etcd"] == "running" and not each["off"]
        ]
        return len(set(voters) & set(up)) > len(voters) / 2

    def _begin(self, what: str) -> None:
        name, boot = what.split()
        machine = self._model.machine(name)
        if machine["boot"] == int(boot) and machine["etcd"] == "starting" and not machine["data"]:
            self.create(machine)
            self.wake()

    def _join(self, name: str) -> None:
        machine = self._model.machine(name)
        identity = self._to_join(machine)
        if not identity or not self._waits(machine):
            return
        # Who comes back without data takes the place of the member of its name (etcd.go, addMember).
        others = [one for one in self.clusters()[identity] if one["name"] != name]
        if any(one["learner"] for one in others):
            # etcd refuses a second learner; the promotion of the first wakes whoever waits.
            return
        self._save(identity, [*others, _member(machine, learner=True)])
        machine.update(data=identity, etcd="learner")
        self._model.put_machine(machine)
        self._model.after(self._delays().join, "promote", name)

    def _promote(self, name: str) -> None:
        machine = self._model.machine(name)
        if machine["etcd"] != "learner" or self._accidents.at("promote", name, Moment.BEFORE):
            return
        identity = machine["data"]
        self._save(identity, [
            {**one, "learner": False} if one["name"] == name else one for one in self.clusters()[identity]
        ])  # fmt: skip
        machine["etcd"] = "running"
        self._model.put_machine(machine)
        self._started(machine)
        self.wake()

    def _save(self, identity: str, members: list[dict[str, Any]]) -> None:
        self._model.put(_KEY, {**self.clusters(), identity: members})


def _member(machine: Machine, *, learner: bool) -> dict[str, Any]:
    identity = hashlib.sha256(f"{machine['name']} {machine['data']}".encode()).hexdigest()[:16]
    return {"name": machine["name"], "id": identity, "address": machine["address"], "learner": learner}
