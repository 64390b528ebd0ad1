"""Decide whether another system has a party already: by the id that came from there or here, then by tax id.

Pure. Rule: never guessed. `Use` is answered only where exactly one record can be meant; no tax id, a wrong one, or one
that several records bear goes to a person. With an INN the KPP tells the branches of a company apart; a CNPJ names the
branch itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from stdnum import get_cc_module
from stdnum.eu import vat as eu_vat
from stdnum.exceptions import ValidationError

from shared.errors import BadInput

_UNCHECKED = re.compile(r"[0-9A-Z]{5,20}")
_KPP = re.compile(r"[0-9]{4}[0-9A-Z]{2}[0-9]{3}")
_SPACES = re.compile(r"[\s./-]+")
_PREFIXED = {code.upper(): code.upper() for code in eu_vat.MEMBER_STATES} | {"GR": "EL"}


@dataclass(frozen=True, slots=True)
class Party:
    """Whom we look for. `code` is ours; `country` (two letters, or EU) says how the tax id is to be read."""

    code: str
    tax_id: str = ""
    branch: str = ""
    country: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A record of the other system. `origin` is the code of ours that it bears; `branch` None: not known."""

    id: str
    tax_id: str = ""
    branch: str | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    id: str


@dataclass(frozen=True, slots=True)
class Create:
    pass


@dataclass(frozen=True, slots=True)
class Unclear:
    """A person decides. `candidates` are ids of the other system."""

    why: str
    candidates: tuple[str, ...] = ()


def tax_id_of(text: str, country: str) -> str:
    """The one spelling of a tax id, its length and check digits tested.

    Of a country whose check digits nobody has published (UZ, KZ, ...) only the spelling is tested. Without a country a
    tax id is read as an EU VAT number if it begins like one.

    Raises:
        BadInput: it is none.
    """
    country = country.strip().upper()
    compact = _SPACES.sub("", text).upper()
    try:
        if country == "EU" or (not country and compact[:2].isalpha()):
            return str(eu_vat.validate(compact))
        if not country:
            raise BadInput(f'the tax id "{text}" could be of any country', hint="name the party's country")
        module = _module(country)
        if module is None:
            if not _UNCHECKED.fullmatch(compact):
                raise BadInput(f'"{text}" is no tax id: it must have 5 to 20 digits and letters')
            return compact
        return str(module.validate(module.compact(compact)))
    except ValidationError as error:
        why = str(error).rstrip(".").lower()
        raise BadInput(f'"{text}" is no tax id of {country or compact[:2]}: {why}') from None


def spellings_of(party: Party) -> list[str]:
    """All that a system may have a party's tax id written as, the one spelling first.

    Raises:
        BadInput: it is none.
    """
    tax_id = tax_id_of(party.tax_id, party.country)
    country = party.country.strip().upper()
    found = [tax_id, party.tax_id, party.tax_id.strip()]
    module = _module(country) if country not in ("", "EU") else None
    if module is not None and hasattr(module, "format"):
        found.append(str(module.format(tax_id)))
    if country in _PREFIXED:
        found.append(_PREFIXED[country] + tax_id)  # as an EU VAT number
    return list(dict.fromkeys(found))


def branch_of(text: str | None) -> str | None:
    """The one spelling of a KPP; "" where there is none, None where it is not known.

    Raises:
        BadInput: it is none.
    """
    compact = None if text is None else _SPACES.sub("", text).upper()
    if compact and not _KPP.fullmatch(compact):
        raise BadInput(f'"{text}" is no KPP: it has nine signs, such as 770101001')
    return compact


def match(party: Party, found: Sequence[Found]) -> Use | Create | Unclear:
    """What to do about a party, given all records that bear its tax id or its code."""
    ours = sorted({one.id for one in found if party.code and one.origin == party.code})
    try:
        tax_id = tax_id_of(party.tax_id, party.country) if party.tax_id.strip() else ""
        branch = branch_of(party.branch) or ""
    except BadInput as error:
        return Unclear(error.what, tuple(ours))
    if len(ours) > 1:
        return Unclear(f"{len(ours)} records bear the code {party.code}", tuple(ours))
    if ours:
        return _by_origin(party, tax_id, ours[0], found)
    if not tax_id:
        return Unclear("it has no tax id")
    same = {one.id: _branch(one) for one in found if _same(tax_id, one, party.country)}
    others = tuple(sorted(same))
    if not same:
        return Create()
    if not branch:
        return Use(others[0]) if len(same) == 1 else Unclear(f"{len(same)} records bear {tax_id}", others)
    exact = sorted(one for one, other in same.items() if other == branch)
    if len(exact) > 1:
        return Unclear(f"{len(exact)} records bear {tax_id} with KPP {branch}", tuple(exact))
    if exact:
        return Use(exact[0])
    open_ones = sorted(one for one, other in same.items() if not other)
    if not open_ones:
        return Create()  # all are other branches of the same company
    if len(same) == 1 and same[open_ones[0]] == "":
        return Use(open_ones[0])
    return Unclear(f"{len(open_ones)} records bear {tax_id} without a KPP that is known", tuple(open_ones))


def _by_origin(party: Party, tax_id: str, the_one: str, found: Sequence[Found]) -> Use | Unclear:
    """A record that bears our code, unless tax ids say that it is somebody else, or that another one is meant."""
    if not tax_id:
        return Use(the_one)
    for one in found:
        if one.id == the_one and one.tax_id.strip() and not _same(tax_id, one, party.country):
            why = f"the record that bears the code {party.code} has the tax id {one.tax_id}, not {tax_id}"
            return Unclear(why, (the_one,))
    bearers = {one.id: _branch(one) for one in found if _same(tax_id, one, party.country)}
    wanted = branch_of(party.branch)
    others = sorted(one for one, branch in bearers.items() if not wanted or not branch or branch == wanted)
    if others and the_one not in others:
        why = f"one record bears the code {party.code}, and another one the tax id {tax_id}"
        return Unclear(why, tuple(sorted({the_one, *others})))
    return Use(the_one)


def _same(tax_id: str, one: Found, country: str) -> bool:
    try:
        return tax_id_of(one.tax_id, country) == tax_id
    except BadInput:
        return False


def _branch(one: Found) -> str | None:
    try:
        return branch_of(one.branch)
    except BadInput:
        return None


@cache
def _module(country: str) -> Any:
    try:
        return get_cc_module(country.lower(), "vat")
    except (ImportError, ValueError):
        return None
