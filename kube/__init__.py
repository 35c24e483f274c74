"""The Kubernetes API behind one small protocol, and helm and helmfile.

- `cluster`: the protocol. `lightkube_cluster` fulfils it: `connection` and `transport` send, `discovery` knows where,
  `apply` and `ownership` write what is not yet as it should be. `errors`: what can go wrong.
- `watching`: what a gate waits for, told by watches.
- `conditions`, `rollout`, `pod_troubles`, `namespaces`: looks at what is there.
- `crds`, `crd_audit`: definitions out of the charts, and whether they are those that people expect.
- `helm`, `release_states`, `revisions`: helm's own state; `helmfile`, `renderings`: what helmfile installs and renders.
- `adoption`: whether Flux took releases over without touching what runs.
- `probe_pod`, `webhooks`: answers that only a try gives; `belongings`: what a try leaves, taken away.
- `lease`: the cluster to ourselves; `serving`: kubelets' requests for certificates.
"""
