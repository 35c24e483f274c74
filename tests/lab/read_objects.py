"""Prints live objects as JSON; run inside the lab's network, where the API server is.

Arguments: the kubeconfig, the server's URL, and a JSON file of `[API version, kind, namespace, name]`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bootstrap.host.secret import Secret
from kube.lightkube_cluster import LightkubeCluster


def main(kubeconfig: str, server: str, wanted: str) -> None:
    """Print what is found; null for what is not there."""
    cluster = LightkubeCluster.connect(Secret(Path(kubeconfig).read_bytes(), kubeconfig), server=server)
    found = [
        cluster.get((version, kind), name, namespace)
        for version, kind, namespace, name in json.loads(Path(wanted).read_bytes())
    ]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
