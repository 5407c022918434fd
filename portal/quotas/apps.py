"""Django's name for this folder."""

from django.apps import AppConfig


class QuotasConfig(AppConfig):
    """See the folder's docstring."""

    name = "portal.quotas"
