"""The network of the start is known by a flag, so that it may be called otherwise."""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def mark_the_first(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    """Until now it was found by its name."""
    apps.get_model("networks", "Network").objects.filter(name="private").update(is_default=True)


class Migration(migrations.Migration):
    dependencies = [("networks", "0002_networks_and_limits")]

    operations = [
        migrations.AddField(
            model_name="network",
            name="is_default",
            field=models.BooleanField(default=False, help_text="what a machine gets where nobody chooses"),
        ),
        migrations.RunPython(mark_the_first, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="network",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_default", True)), fields=("is_default",), name="one_default_network"
            ),
        ),
    ]
