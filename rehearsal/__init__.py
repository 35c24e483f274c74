"""The lab: machines, network, internet, images, snapshots and faults.

`entry` is how a command gets to its lab: `preparation` makes ready what it is made of (`image`, `debian`, `emulator`,
`certificates`, and `storage`, where that is kept), `lab` starts, joins and ends it, `namespaces` lead into it.

`without_machines` serves one command the lab's internet and nothing else.

`supervisor` is the lab itself, made from its `settings`: `network`, `internet` (`registry`, `charts`, `repository`,
`vault`, `web`), a `machine` each with its `monitor`, and `faults`. Commands ask it through `control`;
`escort` passes the operator's signals on to them; `waiting` is for what is on the same machine.
"""
