"""What both programs say about a setting's variable that is none: a misspelt one would silently keep its default."""

from __future__ import annotations

from collections.abc import Iterable

from shared.errors import ConfigError

NEAREST_SHARE = 0.6


def unknown_variable(variable: str, known: Iterable[str], command: str) -> ConfigError:
    """The refusal of a variable of ours that names no setting, with the one that was probably meant.

    Args:
        variable: its whole name.
        known: the whole names that there are.
        command: the program, as it is typed.
    """
    from difflib import get_close_matches  # only on the way out: a start that goes well needs it not

    nearest = get_close_matches(variable, list(known), 1, NEAREST_SHARE)
    listed = f"`{command} config check` lists them"
    return ConfigError(
        f"the environment variable {variable} is no setting",
        hint=f"did you mean {nearest[0]}? {listed}" if nearest else f"remove it; {listed}",
    )
