"""The lab: machines, network, internet, images, snapshots and faults.

`entry` is how a command gets to its lab: `preparation` makes ready what it is made of (`image`, `debian`, `emulator`,
`certificates`, and `storage`, where that is kept), `lab` starts, joins and ends it, `namespaces` lead into it.

`without_machines` serves one command the lab's internet and nothing else.

`supervisor` is the lab itself, made from its `settings`: `network` with its `switch`, `internet` (`registry`,
`charts` with what an operator gives in `given_charts`, `repository`, `vault`, `web`), a `machine` each with its
`monitor` and `processors`, and `faults`, which are listed in `catalogue` and one of which is `foreign`. Commands ask it
through `control`; `escort` passes the operator's signals on to them; `waiting` is for what is on the same machine.

`rehearse` is the command that runs a real cluster as `rehearsed` makes it virtual; `wiring` reads what its machine
configuration asks of cards and switch, `overlay` is what lies over it.
"""
