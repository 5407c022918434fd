import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("machines", "0007_teams_and_roles"),
        ("networks", "0003_default_network"),
        ("teams", "0001_teams_and_roles"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Grant",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("machines", models.PositiveIntegerField(default=0)),
                ("running", models.PositiveIntegerField(default=0)),
                ("cpus", models.PositiveIntegerField(default=0)),
                ("memory_mib", models.PositiveBigIntegerField(default=0)),
                ("disk_bytes", models.PositiveBigIntegerField(default=0)),
                ("snapshots", models.PositiveIntegerField(default=0)),
                ("published_ports", models.PositiveIntegerField(default=0)),
                ("granted_at", models.DateTimeField(auto_now_add=True)),
                (
                    "machine",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="grants",
                        to="machines.machine",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="NetworkToAskFor",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "network",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="to_ask_for",
                        to="networks.network",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="Quota",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("machines", models.PositiveIntegerField(blank=True, null=True)),
                ("running", models.PositiveIntegerField(blank=True, null=True)),
                ("cpus", models.PositiveIntegerField(blank=True, null=True)),
                ("memory_mib", models.PositiveBigIntegerField(blank=True, null=True)),
                ("disk_bytes", models.PositiveBigIntegerField(blank=True, null=True)),
                ("snapshots", models.PositiveIntegerField(blank=True, null=True)),
                ("published_ports", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "whose",
                    models.CharField(
                        choices=[
                            ("person", "Person"),
                            ("team", "Team"),
                            ("every_person", "Every Person"),
                            ("every_team", "Every Team"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "team",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="quota",
                        to="teams.team",
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="quota",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["whose", "pk"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("team__isnull", True), ("user__isnull", False), ("whose", "person")),
                            models.Q(("team__isnull", False), ("user__isnull", True), ("whose", "team")),
                            models.Q(
                                ("team__isnull", True),
                                ("user__isnull", True),
                                ("whose__in", ("every_person", "every_team")),
                            ),
                            _connector="OR",
                        ),
                        name="a_quota_is_for_one_or_for_all_others",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("team__isnull", True), ("user__isnull", True)),
                        fields=("whose",),
                        name="one_quota_for_all_others",
                    ),
                ],
            },
        ),
    ]
