"""Django's name for this folder."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.accounts"

    def ready(self) -> None:
        """Listen to what allauth says."""
        from portal.accounts import receivers  # noqa: F401, PLC0415  models load only now
