"""The typed inventory and the secrets that it refers to."""
