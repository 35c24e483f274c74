"""Talos: talosctl by subprocess, machine configuration, and what a node says of itself.

- `client`: talosctl as typed calls; `errors`: what its texts mean; `resources`: what it prints, as records.
- `probe`: what stands at a node's port; `lookup`: what a node makes of a name.
- `bundle`, `validity`, `throwaway`: a cluster's secrets bundle; `identity`: ourselves at the Kubernetes API.
- `machineconfig` renders, `documents` reads, `comparison` compares, `preview` shows; `blame`: why talosctl does not.
- `lint`, `lint_network`, `agreement`: what is wrong in a configuration that talosctl lets pass.
- `wiring`, `bonding`: a node's network beside what is declared; `disks`, `discovery`: a machine in maintenance mode.
- `schematic`: the install image that extensions and kernel arguments give.
"""
