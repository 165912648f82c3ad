"""When the service said yes to a confirm."""

# ruff: noqa: RUF012 – as Django writes migrations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scrip", "0001_initial")]

    operations = [
        migrations.AddField("scrippayment", "answered_at", models.DateTimeField(blank=True, null=True)),
    ]
