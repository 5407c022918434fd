"""Django's name for this folder."""

from django.apps import AppConfig


class ClassesConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.classes"
