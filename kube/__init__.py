"""The Kubernetes API behind one small protocol, and helm and helmfile."""
