"""The language that station and centre both speak.

Nothing here reads or writes, waits, or asks a clock: values come in, values go out. What must be the same
on both sides to the last bit (money, the journal's chain, digests, the wire's framing) is written once, here.
"""

PROTOCOL_VERSION = 1
"""Version of the wire protocol; the centre speaks this one and the one before it."""

__version__ = "0.1.0"
