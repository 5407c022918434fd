"""Emptying the database between tests, which the activity's own triggers refuse: they step aside for that moment alone."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.db import connection

from portal.audit.triggers import CREATE, DROP, TABLE


@cache
def let_tests_empty_tables() -> None:
    """Once a process."""
    vendor, operations = connection.vendor, type(connection.ops)
    before: Any = operations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Any, **words: Any) -> list[str]:
        statements: list[str] = before(self, style, tables, **words)
        return [*DROP[vendor], *statements, *CREATE[vendor]] if TABLE in tables else statements

    operations.sql_flush = sql_flush  # type: ignore[method-assign]
