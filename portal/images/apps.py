"""Django's name for this folder."""

from django.apps import AppConfig


class ImagesConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.images"
