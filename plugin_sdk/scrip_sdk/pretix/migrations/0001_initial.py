"""The table of what events have taken."""

# ruff: noqa: RUF012 – as Django writes migrations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [("pretixbase", "0311_fix_unshredded_invoices")]

    operations = [
        migrations.CreateModel(
            name="EventPayment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False)),
                ("payment_id", models.CharField(max_length=64, unique=True)),
                ("is_test", models.BooleanField()),
                (
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="pretixbase.event"
                    ),
                ),
                (
                    "order_payment",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="pretixbase.orderpayment",
                    ),
                ),
            ],
            options={"db_table": "scrip_pretix_payment"},
        ),
    ]
