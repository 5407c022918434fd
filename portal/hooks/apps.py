"""Django's name for this folder."""

from django.apps import AppConfig


class HooksConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.hooks"
