"""Results as plain JSON values, for ``--json``."""

from dataclasses import fields
from typing import Any

from pyg_graphadapter.report.results import Row
from pyg_graphadapter.report.tables import Table


def row_entry(row: Row) -> dict[str, Any]:
    """A method on a data set at a number of shots."""
    return {field.name: getattr(row, field.name) for field in fields(row) if field.name != "task"}


def table_entry(table: Table) -> dict[str, Any]:
    """A table, with its cells as text."""
    return {
        "title": table.title,
        "columns": list(table.header),
        "rows": [[cell.text for cell in line] for line in table.lines],
        "note": table.note,
    }
