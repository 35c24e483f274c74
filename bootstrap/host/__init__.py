"""The machine we run on: programs, files, YAML, clock and secrets."""
