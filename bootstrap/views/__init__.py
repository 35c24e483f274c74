"""Readers of the engine's events; nothing else prints.

- `readers`: which of these a run gets, by where its streams lead.
- `live`: progress drawn at the foot of a terminal; `board` is where the run stands, `frame` one picture of it.
- `plain`: progress lines for a person, on standard error, where nothing can be drawn again.
- `summary`: the verdict as text; what both end with.
- `github`: annotations and the summary of a step for GitHub Actions.
- `jsonlines`: every event as one line of JSON, on standard output, for `--output json`.
- `log`: the same in a file, with tracebacks and the output of failed programs.
- `failure`: an error that no run met; `usage`: a command line that cannot be read.
- `configuration`: the settings, as a table and as a page.
- `plan`: what a run would do, as text, JSON and Markdown; `completion`: a script for each shell.
- `status`: what a journal says, and what the next run would do.
- `report`: `report.json`, whose records are in `document` and whose published form is in `schema`.
- `markdown`, `junit`, `timeline`: `report.md`, `junit.xml` and `timeline.html`, each a function of the report alone.
- `text`: what others wrote, made fit to be shown; `encode`: records as JSON.

The bus redacts what it hands out, so a view renders and never masks.
"""
