"""Readers of the engine's events; nothing else prints.

- `plain`: progress lines for a person, on standard error.
- `summary`: the verdict as text; what `plain` ends with.
- `jsonlines`: every event as one line of JSON, on standard output, for `--output json`.
- `log`: the same in a file, with tracebacks and the output of failed programs.
- `report`: `report.json`, of which all other reports are functions.

The bus redacts what it hands out, so a view renders and never masks.
"""
