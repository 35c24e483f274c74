"""Completion of the command line in a shell: tasks and flags as invoke knows them, and the values of flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# In each of them a value may be a list: what stands behind its last comma is completed. The launcher is asked for the
# rest; it wants its own name without a path.
_BASH: Final = """\
# For bash: source this file, or `source <(./invoke completion)`.
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
_ZSH: Final = """\
# For zsh: source this file after compinit, or `source <(./invoke completion --shell zsh)`.
_firstlight() {{
    local -a found
    case "${{words[CURRENT-1]}}" in
{cases}
        *) found=(${{(f)"$("${{words[1]}}" --complete -- invoke "${{(@)words[2,CURRENT]}}" 2>/dev/null)"}}) ;;
    esac
    compset -P '*,'
    if (( ${{#found}} )); then compadd -a found; else _files; fi
}}
compdef _firstlight invoke
"""
_FISH: Final = """\
# For fish: source this file, or `./invoke completion --shell fish | source`.
function __firstlight
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l found
    switch "$words[-1]"
{cases}
        case '*'
            $words[1] --complete -- invoke $words[2..] "$word" 2>/dev/null
            return
    end
    set -l before (string match -r '.*,' -- "$word")
    for one in $found
        echo "$before$one"
    end
end
complete -c invoke -f -a '(__firstlight)'
"""
# The script of each shell, and the line in it that gives the values of one flag.
_SHELLS: Final = {
    "bash": (_BASH, "        {flag}) words='{values}' ;;"),
    "zsh": (_ZSH, "        {flag}) found=({values}) ;;"),
    "fish": (_FISH, "        case {flag}\n            set found {values}"),
}
SHELLS: Final = tuple(_SHELLS)


def script(shell: str, values: Mapping[str, Sequence[str]]) -> str:
    """The script to be sourced.

    Args:
        shell: one of `SHELLS`.
        values: what each flag, such as `--cluster`, may be given.
    """
    whole, case = _SHELLS[shell]
    return whole.format(cases="\n".join(case.format(flag=flag, values=" ".join(values[flag])) for flag in values))
