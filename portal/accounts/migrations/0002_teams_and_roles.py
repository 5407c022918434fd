from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="approves",
            field=models.BooleanField(default=False, help_text="decides what goes over the quota"),
        ),
        migrations.AddField(
            model_name="user",
            name="audits",
            field=models.BooleanField(default=False, help_text="reads everything, changes nothing"),
        ),
    ]
