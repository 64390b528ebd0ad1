"""What `{{path | filter('x')}}` may do to a value: a closed list of small pure functions, exact and bounded.

A filter is made once from its arguments when the mapping is loaded, and refuses wrong ones there. It is given no
absent value unless it says so: what is not there stays not there.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from central.mapping.errors import Fault, shown
from central.mapping.values import DIGITS_MAX, EXACT, number_of, text_of, whole_of
from shared.errors import BadInput
from shared.money import exponent_of

LENGTH_MAX = 10_000
Argument = str | int | Decimal
Change = Callable[[Any], Any]
_ROUNDING = decimal.Context(prec=4 * DIGITS_MAX, rounding=decimal.ROUND_HALF_UP)
_MICRO = Decimal("0.000001")
_NO = frozenset({"", "0", "false", "no", "n", "off"})
_YES = frozenset({"1", "true", "yes", "y", "on"})
# Months and days by name depend on the machine's language.
_DIRECTIVES = frozenset("YymdHMSfjzZ%")


@dataclass(frozen=True, slots=True)
class Filter:
    """`make` gets the arguments; `takes_absent` filters are asked even where there is no value."""

    make: Callable[..., Change]
    arguments: tuple[Any, ...] = ()
    optional: int = 0
    takes_absent: bool = False


def _length(value: int) -> int:
    if not 0 <= value <= LENGTH_MAX:
        raise BadInput(f"a length is 0 to {LENGTH_MAX}, not {value}")
    return value


def _places(value: int) -> int:
    if not 0 <= value <= 20:
        raise BadInput(f"a number has 0 to 20 places, not {value}")
    return value


# ---- text ----


def _cut(length: int) -> Change:
    _length(length)
    return lambda value: text_of(value)[:length]


def _pad(length: int, fill: str = " ") -> Change:
    _length(length)
    if len(fill) != 1:
        raise BadInput("pad fills with one character")
    return lambda value: text_of(value).rjust(length, fill)


def _replace(old: str, new: str) -> Change:
    if not old:
        raise BadInput("replace needs a text to replace")
    return lambda value: text_of(value).replace(old, new)


def _part(separator: str, position: int) -> Change:
    if not separator or position < 1:
        raise BadInput("part needs a separator and a position from 1")

    def part(value: Any) -> str | None:
        found = text_of(value).split(separator, position)
        return found[position - 1] if len(found) >= position else None

    return part


def _join(separator: str) -> Change:
    def join(value: Any) -> str:
        if not isinstance(value, list):
            raise Fault(f"join needs a list, not {shown(value)}", value)
        return separator.join(text_of(part) for part in value if part is not None)

    return join


# ---- numbers ----


def _round(places: int = 0) -> Change:
    step = Decimal(1).scaleb(-_places(places))

    def rounded(value: Any) -> Decimal:
        return number_of(value).quantize(step, context=_ROUNDING)

    return rounded


def _times(factor: Argument) -> Change:
    by = _argument_number(factor)
    return lambda value: _reckon(EXACT.multiply, value, by)


def _divided(divisor: Argument, places: int = 6) -> Change:
    by, step = _argument_number(divisor), Decimal(1).scaleb(-_places(places))
    if not by:
        raise BadInput("a number cannot be divided by 0")

    def divided(value: Any) -> Decimal:
        return _ROUNDING.divide(number_of(value), by).quantize(step, context=_ROUNDING)

    return divided


def _plus(summand: Argument) -> Change:
    by = _argument_number(summand)
    return lambda value: _reckon(EXACT.add, value, by)


def _argument_number(value: Argument) -> Decimal:
    try:
        return number_of(value)
    except Fault as fault:
        raise BadInput(fault.what) from None


def _reckon(operation: Callable[[Decimal, Decimal], Decimal], value: Any, by: Decimal) -> Decimal:
    return number_of(operation(number_of(value), by))


def _exponent(currency: Argument) -> int:
    return exponent_of(currency) if isinstance(currency, str) else _places(int(currency))


def _minor(currency: Argument = 2) -> Change:
    """Amount as people write it -> minor units."""
    places = _exponent(currency)

    def minor(value: Any) -> int:
        scaled = number_of(value).scaleb(places, context=EXACT)
        if scaled != scaled.to_integral_value():
            raise Fault(f'amount "{shown(value)}" has more than {places} decimals', value)
        return int(scaled)

    return minor


def _amount(currency: Argument = 2) -> Change:
    """Minor units -> Decimal with the currency's places."""
    places = _exponent(currency)
    return lambda value: Decimal(whole_of(value)).scaleb(-places, context=EXACT)


def _quantity() -> Change:
    """The decimal text that our own quantities are: no exponent, no trailing zeros, at most six places."""

    def quantity(value: Any) -> str:
        number = number_of(value)
        if number != number.quantize(_MICRO, context=_ROUNDING):
            raise Fault(f'quantity "{shown(value)}" has more than 6 decimals', value)
        text = format(number, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text in ("", "-0", "-") else text

    return quantity


def _boolean() -> Change:
    def boolean(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        word = text_of(value).strip().lower()
        if word not in _YES and word not in _NO:
            raise Fault(f'"{shown(value)}" is neither yes nor no', value)
        return word in _YES

    return boolean


# ---- dates and times ----


def _format(form: str) -> str:
    for directive in re.findall("%(.?)", form, re.DOTALL):
        if directive not in _DIRECTIVES:
            raise BadInput(
                f"%{directive} is not known in dates; known are %" + " %".join(sorted(_DIRECTIVES))
            )
    return form


def moment_of(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a day has no zone
    try:
        return datetime.fromisoformat(text_of(value).strip())
    except ValueError:
        raise Fault(f'"{shown(value)}" is no date; use read_date for other forms', value) from None


def _date(form: str = "%Y-%m-%d") -> Change:
    """A date or time in another form."""
    _format(form)
    return lambda value: moment_of(value).strftime(form)


def _read_date(form: str) -> Change:
    """A date or time that the source writes in its own form -> ISO 8601."""
    _format(form)
    has_time = any(f"%{directive}" in form for directive in "HMSfzZ")

    def read(value: Any) -> str:
        try:
            moment = datetime.strptime(text_of(value).strip(), form)  # noqa: DTZ007 - the form says
        except ValueError:
            raise Fault(f'"{shown(value)}" is no date of the form {form}', value) from None
        return moment.isoformat() if has_time else moment.date().isoformat()

    return read


def _zone(name: str) -> Change:
    """The moment in another time zone; one that states none is taken to be in it already."""
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(f'there is no time zone "{name}"', hint="write e.g. Europe/Lisbon") from None

    def in_zone(value: Any) -> str:
        moment = moment_of(value)
        try:
            placed = moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)
        except OverflowError:
            raise Fault(f'"{shown(value)}" is outside of the calendar', value) from None
        return placed.isoformat()

    return in_zone


def _from_epoch(unit: str = "s") -> Change:
    if unit not in ("s", "ms"):
        raise BadInput('from_epoch counts in "s" or "ms"')
    size = timedelta(seconds=1) if unit == "s" else timedelta(milliseconds=1)
    start = datetime(1970, 1, 1, tzinfo=UTC)

    def read(value: Any) -> str:
        try:
            return (start + whole_of(value) * size).isoformat()
        except OverflowError:
            raise Fault(f'"{shown(value)}" is outside of the calendar', value) from None

    return read


# ---- lists and the rest ----


def _list_of(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Fault(f"{shown(value)} is no list", value)
    return value


def _default(instead: Argument) -> Change:
    return lambda value: instead if value is None or value == "" else value


def _map(entries: Mapping[str, Any]) -> Change:
    """One value of a value map; `*` stands for every other value."""
    other = entries.get("*")

    def mapped(value: Any) -> Any:
        word = text_of(value)
        found = entries.get(word, other)
        if found is None:
            raise Fault(f'"{shown(word)}" is not in the value map', value)
        return found

    return mapped


def plain(change: Change) -> Callable[[], Change]:
    return lambda: change


FILTERS: dict[str, Filter] = {
    "upper": Filter(plain(lambda value: text_of(value).upper())),
    "lower": Filter(plain(lambda value: text_of(value).lower())),
    "trim": Filter(plain(lambda value: text_of(value).strip())),
    "text": Filter(plain(text_of)),
    "digits": Filter(plain(lambda value: re.sub("[^0-9]", "", text_of(value)))),
    "cut": Filter(_cut, (int,)),
    "pad": Filter(_pad, (int, str), 1),
    "replace": Filter(_replace, (str, str)),
    "part": Filter(_part, (str, int)),
    "join": Filter(_join, (str,)),
    "number": Filter(plain(number_of)),
    "whole": Filter(plain(whole_of)),
    "round": Filter(_round, (int,), 1),
    "times": Filter(_times, (Argument,)),
    "divide": Filter(_divided, (Argument, int), 1),
    "plus": Filter(_plus, (Argument,)),
    "negate": Filter(plain(lambda value: EXACT.minus(number_of(value)))),
    "absolute": Filter(plain(lambda value: number_of(value).copy_abs())),
    "minor": Filter(_minor, (Argument,), 1),
    "amount": Filter(_amount, (Argument,), 1),
    "quantity": Filter(_quantity),
    "boolean": Filter(_boolean),
    "date": Filter(_date, (str,), 1),
    "read_date": Filter(_read_date, (str,)),
    "zone": Filter(_zone, (str,)),
    "from_epoch": Filter(_from_epoch, (str,), 1),
    "first": Filter(plain(lambda value: next(iter(_list_of(value)), None))),
    "last": Filter(plain(lambda value: next(reversed(_list_of(value)), None))),
    "count": Filter(plain(lambda value: len(_list_of(value)))),
    "default": Filter(_default, (Argument,), takes_absent=True),
    "map": Filter(_map, (Mapping,)),
}
