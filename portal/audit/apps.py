"""Django's name for this folder."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.audit"

    def ready(self) -> None:
        """Listen to signing in and out."""
        from portal.audit import signing_in  # noqa: F401, PLC0415  it connects to Django's signals
