"""Django's name for this folder."""

from django.apps import AppConfig


class ExportsConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.exports"
