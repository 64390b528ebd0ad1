"""Tables of the cross-reference, of parties that are unclear, and of reference values made in other systems.

A code of another system names one thing of ours (`code_matches`); one of ours may have several over there, of which
`main` is the one that is sent. What was merged away stays known (`code_merges`), so documents that bear it still find
the way.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from central.db.metadata import WITHOUT_ROWID, Big, metadata

code_matches = Table(
    "code_matches",
    metadata,
    Column("match_no", Big, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("outlet", Text, nullable=False),  # "" for a code that holds everywhere
    Column("theirs", Text, nullable=False),
    Column("ours", Text, nullable=False),
    Column("main", Boolean, nullable=False),  # of several for one of ours: the one that is sent
    Column("by", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("kind", "system", "outlet", "theirs"),
)
Index(
    "code_matches_by_ours",
    code_matches.c.kind,
    code_matches.c.ours,
    code_matches.c.system,
    code_matches.c.outlet,
)

code_merges = Table(
    "code_merges",
    metadata,
    Column("kind", Text, nullable=False),
    Column("gone", Text, nullable=False),
    Column("survivor", Text, nullable=False),  # never itself gone: one step leads there
    Column("by", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("kind", "gone"),
    **WITHOUT_ROWID,
)
Index("code_merges_by_survivor", code_merges.c.kind, code_merges.c.survivor)

code_questions = Table(
    "code_questions",
    metadata,
    Column("question_no", Big, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("outlet", Text, nullable=False),
    Column("way", Text, nullable=False),  # in: a code of theirs without ours; out: one of ours without theirs
    Column("code", Text, nullable=False),
    Column("claim", Text, nullable=False),  # "" unmatched; else: a second code of ours that it is said to be
    Column("seen", BigInteger, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    UniqueConstraint("kind", "system", "outlet", "way", "code", "claim"),
)

code_tries = Table(
    "code_tries",
    metadata,
    Column("system", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("code", Text, nullable=False),  # of ours, merges followed
    Column("tries", BigInteger, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    PrimaryKeyConstraint("system", "kind", "code"),
    **WITHOUT_ROWID,
)
"""Codes that a `[[match]]` looked for in vain: why, and when it looks again."""

unclear_parties = Table(
    "unclear_parties",
    metadata,
    Column("unclear_no", Big, primary_key=True),
    Column("system", Text, nullable=False),
    Column("party", Text, nullable=False),  # its code with whoever asks
    Column("name", Text, nullable=False),
    Column("tax_id", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("candidates", Text, nullable=False),  # JSON list of ids
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("decision", Text),  # use | create | ignore
    Column("chosen", Text),  # the id, for use
    Column("by", Text),
    Column("decided_ms", BigInteger),
    UniqueConstraint("system", "party"),
)

reference_values = Table(
    "reference_values",
    metadata,
    Column("system", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("theirs", Text),  # its id over there; null while it is being made
    Column("made", Boolean, nullable=False),  # by us
    Column("holder", Text, nullable=False),  # who makes it, or made it
    Column("until_ms", BigInteger, nullable=False),  # from then on somebody else may
    PrimaryKeyConstraint("system", "target", "value"),
    **WITHOUT_ROWID,
)
