"""Static checks over inventory, Git tree and rendered charts together; they read data and start nothing.

- `catalogue`: every check, all problems at once.
- `installed`: a HelmRelease beside what its chart makes of its values.
- `definitions`: who brings custom resource definitions, and of which version.
- `settings`: values that a component must have on these machines.
- `pods`: what Talos and the pod security of a namespace refuse.
- `rendering`: what helmfile says of a release that it cannot render.
- `certificates`: what a template made up, so that two renders differ.
"""
