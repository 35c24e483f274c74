"""The typed inventory, one YAML file a cluster, and the secrets that it refers to.

- `model`: what a cluster is, as frozen records.
- `loader`: reads one, or says everything that is wrong.
- `fields`, `schema`, `parsing`: the form of the file and its JSON schema.
- `view`, `findings`: a raw document, and what is wrong in it.
- `rules`, `machines`, `networks`: rules over one file.
- `neighbours`, `agreement`: rules between clusters, and between a cluster and its settings in the Git tree.
- `facts`, `editing`: what nobody confirmed, and how it is written down once it is known.
- `secrets`, `connect`: who answers secret references; `storing`: how a secret gets to where one points.
"""
