"""The Flux tree as a model, and the live cluster held against it.

- `tree`: its Kustomizations and what each applies; `loader` makes it of the files.
- `build`, `substitution`, `operators`: what kustomize-controller makes of a folder; `settings`: its variables.
- `releases`, `values`: chart, version and values of a HelmRelease; `refusals`: values that a chart's schema refuses.
- `validate`, `schemas`: whether the API takes what Flux would apply; `origins`: where an object was written.
- `handover`: whether Flux runs a cluster; `conditions`: what its objects say; `applied`: whether what it applies is
  there; `apart`: what nobody waits for.
"""
