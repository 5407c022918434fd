"""Django's name for this folder."""

from django.apps import AppConfig


class FiguresConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.figures"
