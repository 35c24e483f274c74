"""The switch without a machine, in namespaces of its own: two of its bridges against each other, and who answers."""

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


# A card on the first tap asks who has the gateway's address; prints every address that says so, and the bridge's own.
ASKING = """
import fcntl, json, os, struct, sys, time
from dataclasses import replace
from pathlib import Path
from bootstrap.host.commands import Command
from rehearsal.network import BRIDGE, Network, tap_name
from tests.unit.rehearsal.bench import MACHINE, make_settings, runner
folder, programs = Path(sys.argv[1]), {name: Path(path) for name, path in json.loads(sys.argv[2]).items()}
settings = replace(make_settings(folder, folder, programs, machines=(MACHINE,)), lacp=True)
network = Network(settings, runner())
network.make()
def mac(name):
    return json.loads(runner().run(Command(programs["ip"], ("-json", "link", "show", name))).text)[0]["address"]
cards = []
for card in range(2):
    cards.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK))
    TUNSETIFF, TAP_WITHOUT_HEADER = 0x400454CA, 0x1002
    fcntl.ioctl(cards[-1], TUNSETIFF, struct.pack("16sH22x", tap_name(0, card).encode(), TAP_WITHOUT_HEADER))
own = bytes.fromhex("525400130011")
gateway = bytes(map(int, settings.gateway.split(".")))
request = b"\\xff" * 6 + own + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + own
request += bytes([10, 25, 13, 11]) + bytes(6) + gateway
said, deadline = set(), time.monotonic() + 60
while time.monotonic() < deadline:
    # Whoever answers late answers a second question; five are asked after the first answer.
    os.write(cards[0], request)
    time.sleep(0.2)
    for card in cards:
        try:
            while True:
                frame = os.read(card, 2000)
                if frame[12:14] == b"\\x08\\x06" and frame[20:22] == b"\\x00\\x02" and frame[28:32] == gateway:
                    said.add(frame[22:28].hex(":"))
        except BlockingIOError:
            pass
    if said and deadline > time.monotonic() + 1:
        deadline = time.monotonic() + 1
network.end()
print(json.dumps({"said": sorted(said), "bridge": mac(BRIDGE)}))
"""


def test_the_bridge_alone_answers_for_the_gateway(tmp_path: Path) -> None:
    programs = json.dumps({name: str(system(name)) for name in PROGRAMS})
    arguments = (*unshare_arguments(), sys.executable, "-c", ASKING, str(tmp_path), programs)
    # Two daemons, a bond without a partner, which is given up after seconds, and a dozen questions, all beside other
    # tests; a minute and a half is a machine that is stuck.
    result = runner().run(Command(system("unshare"), arguments, {"PYTHONPATH": str(CODE)}, timeout=90))
    seen = json.loads(result.text)
    assert seen["said"] == [seen["bridge"]]
