"""Lines as a file: CSV for a table, JSON lines for a program; written while it is read, however long."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator

from portal.audit.models import CONTENT, Append, Entry

COLUMNS = ("sequence", "id", *CONTENT, "previous", "hash")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_CHUNK = 500


class _Echo:
    """What csv writes to: gives back what it is given."""

    def write(self, line: str) -> str:
        return line


def as_csv(rows: Append) -> Iterator[str]:
    """A header and a line each. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for entry in rows.iterator(chunk_size=_CHUNK):
        yield writer.writerow([_cell(value) for value in _values(entry).values()])


def as_json_lines(rows: Append) -> Iterator[str]:
    """An object a line, `details` as an object of its own."""
    for entry in rows.iterator(chunk_size=_CHUNK):
        said = _values(entry) | {"details": entry.details}
        del said["details_json"]
        yield json.dumps(said, ensure_ascii=False) + "\n"


def _values(entry: Entry) -> dict[str, object]:
    said = {field: getattr(entry, field) for field in COLUMNS}
    said["at"] = entry.at.isoformat(timespec="microseconds")
    said["operation_id"] = str(entry.operation_id) if entry.operation_id else ""
    return said


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
