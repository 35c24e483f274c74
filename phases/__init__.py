"""The phases of a bootstrap, as data.

`catalogue` lists them, and each has a module of its name:

- `preflight`, with the steps of `charts`; `definitions` and `resources` hold files against each other.
- `talos`: `machines` and `hardware` see them, `offering`, `install`, `network`, `quorum`, `etcd`, `controlplane` and
  `serving` bring them up.
- `prerequisites`; `obstacles`: what stands in the way of an object.
- `crds`; `endpoint`: the gate before Cilium.
- `core`: `releases` and `pending` install, `cilium_definitions`, `reachability`, `mirror`, `issuance` and `secret_sync`
  prove (`proofs`, `operators`, `admission`), `baseline` notes what runs.
- `handover`: `criteria` and `adoption`.

`world` is what steps share, `refs` how they name each other, `sources` the files that they follow from.

`session` runs the phases, `plan` shows them with what `foresight` puts in place of the world, `evidence` is gathered
after a failure. The other commands are `status`, `values`, `expect`, `bundles`, `configurations` and `discovery`;
`reference` and `page` make files of the code.
"""
