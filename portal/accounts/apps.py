"""Django's name for this folder."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.accounts"
