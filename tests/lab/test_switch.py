"""The switch without a machine: two of its bridges against each other, in namespaces of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bootstrap.host.commands import Command
from rehearsal.namespaces import unshare_arguments
from tests.unit.rehearsal.bench import runner, system

CODE = Path(__file__).parents[2]
PROGRAMS = ("ip", "ovs-appctl", "ovs-vsctl", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool")
# Two bridges joined by two cables, each other's partner; prints what was seen as JSON.
SCRIPT = """
import json, sys
from pathlib import Path
from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.secret import Redactor
from rehearsal.switch import Switch
from rehearsal.waiting import wait_for
folder, programs, runner = Path(sys.argv[1]), json.loads(sys.argv[2]), ShCommandRunner(Redactor())
programs = {name: Path(path) for name, path in programs.items()}
def ip(*words):
    return runner.run(Command(programs["ip"], words)).text
ip("link", "set", "lo", "up")
for cable in range(2):
    ip("link", "add", f"a{cable}", "mtu", "9000", "type", "veth", "peer", "name", f"b{cable}", "mtu", "9000")
    ip("link", "set", f"a{cable}", "up")
    ip("link", "set", f"b{cable}", "up")
left, right = (Switch(name, folder, programs, runner) for name in ("left", "right"))
left.start()
# One daemon has both: it has one datapath for its namespace.
right._change("add-br", "right", "--", "set", "bridge", "right", "datapath_type=netdev")
left.connect("one", ["a0", "a1"])
right.connect("other", ["b0", "b1"])
def both():
    return left.has_partner("one") and right.has_partner("other")
seen = {}
wait_for(both, 30, "partners")
seen["mtu"] = "mtu 9000" in ip("link", "show", "left")
left.disconnect_partner("one", ["a0", "a1"])
seen["left has a bond"] = left.has_partner("one")
wait_for(lambda: not right.has_partner("other"), 30, "the partner to be missed")
left.connect("one", ["a0", "a1"])
wait_for(both, 30, "the partner to be back")
left.end()
print(json.dumps(seen))
"""


def test_a_partner_comes_goes_and_comes_back(tmp_path: Path) -> None:
    programs = json.dumps({name: str(system(name)) for name in PROGRAMS})
    arguments = (*unshare_arguments(), sys.executable, "-c", SCRIPT, str(tmp_path), programs)
    # Three negotiations of three seconds at most; a minute and a half is a machine that is stuck.
    result = runner().run(Command(system("unshare"), arguments, {"PYTHONPATH": str(CODE)}, timeout=90))
    assert json.loads(result.text) == {"left has a bond": False, "mtu": True}
