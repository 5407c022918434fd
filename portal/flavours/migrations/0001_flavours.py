from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Flavour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=63)),
                ("description", models.CharField(blank=True, max_length=200)),
                ("cpus", models.PositiveSmallIntegerField()),
                ("memory_mib", models.PositiveIntegerField()),
                ("disk_gib", models.PositiveIntegerField()),
                ("position", models.PositiveSmallIntegerField(default=0)),
                (
                    "is_hidden",
                    models.BooleanField(default=False, help_text="offered to nobody; nothing else changes"),
                ),
                ("needs_approval", models.BooleanField(default=False)),
            ],
            options={
                "ordering": ["position", "pk"],
            },
        ),
    ]
