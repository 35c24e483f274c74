"""The value of every setting in one command, and where it comes from.

A flag goes before a variable `FIRSTLIGHT_<NAME>`, that before the file `firstlight.yaml` in the repository, that
before the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.names import nearest
from bootstrap.host.settings import CACHE, INTERNAL, PREFIX, REGISTRY, ROOT, TESTING, AnySetting, Setting, Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE: Final = "firstlight.yaml"
DEFAULT: Final = "default"

ValueT = TypeVar("ValueT", bound=Value)


@dataclass(frozen=True)
class Given:
    """A setting's value in one command.

    Attributes:
        setting: of the registry.
        value: of the setting's kind.
        origin: the flag, the variable, `firstlight.yaml:line:column`, or `default`.
    """

    setting: AnySetting
    value: Value
    origin: str


class Configuration:
    """Every setting's value in one command; ask with `configuration[CLUSTER]`.

    Args:
        given: one for each setting of the registry.
    """

    def __init__(self, given: Mapping[str, Given]) -> None:
        self._given = given

    def __getitem__(self, setting: Setting[ValueT]) -> ValueT:
        # The setting's own kind made the value.
        return cast("ValueT", self._given[setting.name].value)

    def __iter__(self) -> Iterator[Given]:
        return iter(self._given.values())


def resolve(flags: Mapping[str, object], environment: Mapping[str, str]) -> Configuration:
    """Every setting's value and where it comes from.

    Args:
        flags: by setting's name; None, an empty text and False were not given.
        environment: usually `os.environ`; an empty variable was not given.

    Raises:
        InputError: a variable or key that is no setting, with the nearest that is, or a value that its setting
            cannot be; all of them at once. An unknown variable's value is not shown.
    """
    problems = _unknown_variables(environment)
    early = _first(ROOT, [_of_variable(ROOT, environment)], problems) or _of_default(ROOT, environment)
    root = Path(str(early.value)).resolve()
    if not root.is_dir():
        problems.append(Problem(f"{ROOT.variable}: {root} is no folder"))
    file = _read_file(root / FILE, problems)
    given = {ROOT.name: Given(ROOT, root, early.origin)}
    for setting in REGISTRY:
        if setting is not ROOT:
            said = [_of_flag(setting, flags), _of_variable(setting, environment), file.get(setting.name)]
            given[setting.name] = _first(setting, said, problems) or _of_default(setting, environment)
    cache = given[CACHE.name]
    if (folder := Path(str(cache.value))).exists() and not folder.is_dir():
        problems.append(Problem(f"{cache.origin}: {folder} is no folder"))
    if problems:
        raise InputError("the settings cannot be used", tuple(problems), remedy="docs/reference/config.md lists them")
    return Configuration({setting.name: given[setting.name] for setting in REGISTRY})


@dataclass(frozen=True)
class _Said:
    """A value as it was written; a problem about it names `origin` or, in a file, the place.

    A relative path counts from `folder`.
    """

    text: str
    origin: str
    folder: Path
    place: yaml_io.Position | None = None

    def problem(self, text: str) -> Problem:
        if self.place:
            return Problem(text, FILE, self.place.line, self.place.column)
        return Problem(f"{self.origin}: {text}")


def _first(setting: AnySetting, said: list[_Said | None], problems: list[Problem]) -> Given | None:
    """The first that was said; what is wrong with the others is told all the same."""
    found: list[Given] = []
    for each in said:
        if each is not None:
            try:
                value = setting.kind.read(each.text)
            except ValueError as error:
                problems.append(each.problem(f'"{each.text}" {error}'))
                continue
            found.append(Given(setting, each.folder / value if isinstance(value, Path) else value, each.origin))
    return found[0] if found else None


def _of_flag(setting: AnySetting, flags: Mapping[str, object]) -> _Said | None:
    flag = flags.get(setting.name)
    return _Said(str(flag), setting.flag, Path.cwd()) if flag not in {None, "", False} else None


def _of_variable(setting: AnySetting, environment: Mapping[str, str]) -> _Said | None:
    text = environment.get(setting.variable, "")
    return _Said(text, setting.variable, Path.cwd()) if text else None


def _of_default(setting: AnySetting, environment: Mapping[str, str]) -> Given:
    return Given(setting, setting.default(environment) if callable(setting.default) else setting.default, DEFAULT)


def _unknown_variables(environment: Mapping[str, str]) -> list[Problem]:
    known = {setting.variable for setting in REGISTRY}
    ours = (name for name in environment if name.startswith(PREFIX) and not name.startswith(TESTING))
    unknown = sorted(name for name in ours if name not in known | INTERNAL)
    return [Problem(f"{name} is no setting; {nearest(name, known, prefix=PREFIX)}") for name in unknown]


def _read_file(path: Path, problems: list[Problem]) -> dict[str, _Said]:
    """What the file says by setting's name; a file that is not there says nothing."""
    if not path.exists():
        return {}
    try:
        text = path.read_bytes()
        document = yaml_io.load(text, source=FILE)
    except OSError as error:
        problems.append(Problem(error.strerror or str(error), FILE))
        return {}
    except InputError as error:
        problems.extend(error.problems)
        return {}
    if not isinstance(document, dict | None):
        problems.append(Problem("the file is not a mapping of keys to values", FILE, 1, 1))
        return {}
    places = yaml_io.positions(text, source=FILE)
    known = {setting.key: setting for setting in REGISTRY}
    found = {}
    for key, value in (document or {}).items():
        # YAML makes a truth value of the key `yes`, which then has no place of its own.
        place, setting = places.get((str(key),), yaml_io.Position(1, 1)), known.get(str(key))
        written = str(value).lower() if isinstance(value, bool) else str(value)
        said = _Said(written, f"{FILE}:{place.line}:{place.column}", path.parent, place)
        if setting is None:
            keys = [each.key for each in REGISTRY if each.has_key]
            problems.append(said.problem(f"`{key}` is no setting; {nearest(str(key), keys)}"))
        elif not setting.has_key:
            problems.append(said.problem(f"`{key}` is said by {setting.variable} or with a command, never by a file"))
        elif type(value) is not setting.kind.written:
            problems.append(said.problem(f"`{key}` is not {setting.kind.name}, found {value!r}"))
        else:
            found[setting.name] = said
    return found
