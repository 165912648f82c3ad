"""The bank's book."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies: ClassVar = []
    operations: ClassVar = [
        migrations.CreateModel(
            name="BankCharge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("order_number", models.CharField(max_length=128, unique=True)),
                ("amount", models.DecimalField(decimal_places=2, max_digits=12)),
                ("last_digits", models.CharField(max_length=4)),
                ("charged_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
    ]
