"""The database's own refusal to change or delete a line, whoever asks: as SQL, for both kinds of database."""

from __future__ import annotations

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

TABLE = "audit_entry"
_CONTENT = (
    "id, at, actor_id, actor_name, acting_for_id, acting_for_name, action, object_kind, object_id, object_name, "
    "address, session, operation_id, result, details_json"
)
_WORDS = "a line of the activity is never changed"

CREATE: dict[str, tuple[str, ...]] = {
    "sqlite": (
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON {TABLE} BEGIN SELECT RAISE(ABORT, '{_WORDS}'); END",
        f"CREATE TRIGGER audit_no_change BEFORE UPDATE OF {_CONTENT} ON {TABLE} BEGIN SELECT RAISE(ABORT, '{_WORDS}'); END",
        f"CREATE TRIGGER audit_no_moving BEFORE UPDATE ON {TABLE} WHEN OLD.sequence IS NOT NULL "
        f"BEGIN SELECT RAISE(ABORT, '{_WORDS}'); END",
    ),
    "postgresql": (
        f"CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{_WORDS}'; END $$",
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
        f"CREATE TRIGGER audit_no_change BEFORE UPDATE OF {_CONTENT} ON {TABLE} FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
        f"CREATE TRIGGER audit_no_moving BEFORE UPDATE ON {TABLE} FOR EACH ROW WHEN (OLD.sequence IS NOT NULL) "
        "EXECUTE FUNCTION audit_refuse()",
        f"CREATE TRIGGER audit_no_emptying BEFORE TRUNCATE ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    ),
}
DROP: dict[str, tuple[str, ...]] = {
    "sqlite": tuple(f"DROP TRIGGER audit_no_{what}" for what in ("delete", "change", "moving")),
    "postgresql": (
        *(f"DROP TRIGGER audit_no_{what} ON {TABLE}" for what in ("delete", "change", "moving", "emptying")),
        "DROP FUNCTION audit_refuse()",
    ),
}


def create(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """For the migration. A later one that changes the table drops them first: SQLite makes the table anew."""
    for statement in CREATE[editor.connection.vendor]:
        editor.execute(statement)


def drop(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Undo `create`."""
    for statement in DROP[editor.connection.vendor]:
        editor.execute(statement)
