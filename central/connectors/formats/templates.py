"""Templates of lists to fill in: the first line that says what the list is, a column for each field of the entity."""

from __future__ import annotations

import csv
import io
from typing import Literal

from central.connectors.formats.writing import sheet_of
from shared.catalog.entities import ENTITIES
from shared.errors import NotFound

MEDIA = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_MINOR = "_minor"
_DELETED = ("deleted", "", "1 deletes the row")


def template(entity: str, form: Literal["csv", "xlsx"]) -> bytes:
    """An empty list of an entity; the Excel form has a second sheet that explains the columns.

    Raises:
        NotFound: there is no such entity.
    """
    if entity not in ENTITIES:
        raise NotFound(
            f'"{entity}" is no entity of the catalog', hint=f"known are {', '.join(sorted(ENTITIES))}"
        )
    about = f"#counterflow entity={entity} mode=changes"
    columns = _columns(entity)
    names = [column[0] for column in columns]
    if form == "csv":
        text = io.StringIO()
        text.write(f"{about}\n")
        csv.writer(text, lineterminator="\n").writerow(names)
        return text.getvalue().encode()
    notes = [("column", "needed", "what it is"), *columns]
    return sheet_of([[about], names], entity, {"Columns": notes})


def _columns(entity: str) -> list[tuple[str, str, str]]:
    """(name, "yes" where every row needs it, meaning). An amount is written with a point where its currency is told."""
    fields = ENTITIES[entity].model.model_fields
    with_point = "currency" in fields
    columns = []
    for name, field in fields.items():
        plain = name.removesuffix(_MINOR) if with_point else name
        meaning = field.description or ""
        if plain != name:
            meaning = f"with a point: 12.50. {meaning}".strip()
        columns.append((plain, "yes" if field.is_required() else "", meaning))
    return [*columns, _DELETED]
