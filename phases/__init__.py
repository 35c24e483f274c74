"""The phases of a bootstrap, as data."""
