"""The Flux tree as a model."""
