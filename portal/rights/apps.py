"""Django's name for this folder."""

from django.apps import AppConfig


class RightsConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.rights"
