"""Compare versions of our own programs, on both sides alike.

A version is whole numbers between dots. Rule: what is no version is never older, so that nobody is accused by a guess.
"""

from __future__ import annotations


def is_older(version: str, minimum: str) -> bool:
    """Whether *version* is below *minimum*, by their numbers."""
    try:
        return tuple(map(int, version.split("."))) < tuple(map(int, minimum.split(".")))
    except ValueError:
        return False
