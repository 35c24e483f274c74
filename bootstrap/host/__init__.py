"""The machine we run on: programs, files, YAML, clock and secrets.

- `commands` starts programs, each a record of `command`; `groups`, `orphans` and `process`: their life and end.
- `programs`, `toolbox`, `builder`, `toolchain`, `versions`: pinned programs, found or built; `packages`: the system's.
- `settings`, `configuration`: every setting, and its value in one command.
- `files`, `locks`, `streams`, `signals`, `clock`: the system, each as small as it is needed.
- `yaml_io`, `objects`: YAML, and values out of what it holds.
- `errors`, `names`: what a person is told, and names typed wrong; `secret`: what nobody is told.
- `quality`: what the linters are; `product`: what we are.
"""
