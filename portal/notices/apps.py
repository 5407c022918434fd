"""Django's name for this folder."""

from django.apps import AppConfig


class NoticesConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.notices"
