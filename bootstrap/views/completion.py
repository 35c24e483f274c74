"""Completion of the command line in a shell: tasks and flags as invoke knows them, and the values of flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A value may be a list: what stands behind its last comma is completed. The launcher is asked for the rest; it wants
# its own name without a path.
_BASH: Final = """\
# For bash: source this file. For zsh: autoload -U +X bashcompinit && bashcompinit, then source it.
_firstlight() {{
    local word="${{2##*,}}" words
    case "$3" in
{cases}
        *) words="$("$1" --complete -- invoke "${{COMP_WORDS[@]:1}}" 2>/dev/null)" ;;
    esac
    COMPREPLY=($(compgen -P "${{2%"$word"}}" -W "$words" -- "$word"))
}}
complete -o default -F _firstlight invoke
"""


def bash_script(values: Mapping[str, Sequence[str]]) -> str:
    """The script to be sourced.

    Args:
        values: what each flag, such as `--cluster`, may be given.
    """
    cases = "\n".join(f"        {flag}) words='{' '.join(known)}' ;;" for flag, known in values.items())
    return _BASH.format(cases=cases)
