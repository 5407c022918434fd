"""Django's name for this folder."""

from django.apps import AppConfig


class NetworksConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.networks"
