"""Django's name for this folder."""

from django.apps import AppConfig


class ActivityConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.activity"
