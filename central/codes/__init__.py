"""The cross-reference: our codes and those of every other system; parties and reference values over there."""

from central.codes.cross_reference import Match, Noted, look_up, look_up_ours, miss, note

__all__ = ["Match", "Noted", "look_up", "look_up_ours", "miss", "note"]
