"""What goes wrong at a call: lost before or after its effect, answered by something else, followed by a reboot."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.scripted.model import Model

_KEY = "accidents"


class Moment(StrEnum):
    """When it happens."""

    BEFORE = "before"
    """The call has no effect."""
    AFTER = "after"
    """The call has its effect."""


# Nobody answers until the caller's own time limit.
NO_ANSWER = "no answer"


@dataclass(frozen=True, kw_only=True)
class Accident:
    """Something that goes wrong at a call.

    Attributes:
        call: the beginning of talosctl's words, for example `get machineconfig`; `handshake` and `readyz` are
            questions that other programs ask.
        machine: whose; empty for whoever is called first.
        moment: see `Moment`.
        says: name of the recording that is the answer, or `NO_ANSWER`; empty for what would be said anyway.
        then: what happens to the machine, `event` or `event arguments`; see `machines.Machines`.
        delay: seconds from the call to that.
        times: at how many calls.
        skip: calls that go well before.
        fired: at how many it has happened.
    """

    call: str
    machine: str = ""
    moment: Moment = Moment.BEFORE
    says: str = ""
    then: str = ""
    delay: float = 0.0
    times: int = 1
    skip: int = 0
    fired: int = 0


class Accidents:
    """The accidents of a world.

    Args:
        model: the world.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    def plan(self, accidents: Sequence[Accident]) -> None:
        """These will happen."""
        with self._model.look():
            self._write(accidents)

    def all(self) -> list[Accident]:
        """Every accident, with how often it fired."""
        return [Accident(**_read(each)) for each in self._model.get(_KEY, [])]

    def at(self, call: str, machine: str, moment: Moment) -> Accident | None:
        """What happens at a call; it counts as fired."""
        planned = self.all()
        for place, each in enumerate(planned):
            if each.moment is not moment or each.machine not in {"", machine} or not _begins(call, each.call):
                continue
            if each.skip:
                planned[place] = replace(each, skip=each.skip - 1)
                self._write(planned)
                return None
            if each.fired < each.times:
                planned[place] = replace(each, fired=each.fired + 1)
                self._write(planned)
                self._happen(each, machine)
                return each
        return None

    def _happen(self, accident: Accident, machine: str) -> None:
        if accident.then:
            event, _, arguments = accident.then.partition(" ")
            self._model.after(accident.delay, event, f"{machine} {arguments}".strip())

    def _write(self, accidents: Sequence[Accident]) -> None:
        self._model.put(_KEY, [asdict(each) for each in accidents])


def _begins(call: str, wanted: str) -> bool:
    return f"{call} ".startswith(f"{wanted} ")


def _read(each: dict[str, Any]) -> dict[str, Any]:
    return {**each, "moment": Moment(each["moment"])}
