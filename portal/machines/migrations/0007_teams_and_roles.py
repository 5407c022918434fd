import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("machines", "0006_networks_and_limits"),
        ("teams", "0001_teams_and_roles"),
    ]

    operations = [
        migrations.AddField(
            model_name="machine",
            name="team",
            field=models.ForeignKey(
                blank=True,
                help_text="empty: it belongs to its owner alone",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="machines",
                to="teams.team",
            ),
        ),
    ]
