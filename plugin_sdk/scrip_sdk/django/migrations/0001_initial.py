"""The tables of payments and instructions."""

# ruff: noqa: RUF012 – as Django writes migrations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies: list[tuple[str, str]] = []

    operations = [
        migrations.CreateModel(
            name="ScripInstruction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("instruction_id", models.CharField(max_length=40, unique=True, verbose_name="ID")),
                ("key", models.CharField(max_length=255, unique=True)),
                (
                    "verb",
                    models.CharField(
                        choices=[("settle", "settle"), ("void", "give back"), ("refund", "refund")], max_length=8
                    ),
                ),
                ("payment_id", models.CharField(max_length=64, verbose_name="payment ID")),
                ("order_reference", models.CharField(max_length=200)),
                ("amount_minor", models.PositiveBigIntegerField(blank=True, null=True)),
                ("currency", models.CharField(blank=True, max_length=3)),
                ("final", models.BooleanField(default=True)),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "waiting"), ("done", "done"), ("dead", "given up")],
                        default="pending",
                        max_length=8,
                    ),
                ),
                ("tries", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("due_at", models.DateTimeField()),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.CharField(blank=True, max_length=100)),
                ("answer_id", models.CharField(blank=True, max_length=64)),
            ],
            options={
                "verbose_name": "instruction to Scrip",
                "verbose_name_plural": "instructions to Scrip",
                "db_table": "scrip_instruction",
                "ordering": ("-id",),
                "permissions": (("retry_scripinstruction", "Can try a given-up instruction again"),),
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "pending")), fields=["due_at"], name="scrip_instruction_due"
                    ),
                    models.Index(fields=["payment_id", "state", "id"], name="scrip_instruction_payment"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ScripPayment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("payment_id", models.CharField(max_length=64, unique=True, verbose_name="payment ID")),
                ("order_reference", models.CharField(db_index=True, max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("applied", "applied: held for a shopper, no order yet"),
                            ("confirmed", "confirmed: held for an order that is being placed"),
                            ("placed", "placed: the order stands, and is to be settled"),
                            ("settled", "settled"),
                            ("voiding", "to be given back"),
                            ("voided", "given back"),
                            ("expired", "the hold ended before an order stood"),
                        ],
                        default="applied",
                        max_length=12,
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
                ("held_minor", models.PositiveBigIntegerField()),
                ("amount_minor", models.PositiveBigIntegerField(default=0)),
                ("settled_minor", models.PositiveBigIntegerField(default=0)),
                ("refunded_minor", models.PositiveBigIntegerField(default=0)),
                ("expires_at", models.DateTimeField()),
                ("applied_at", models.DateTimeField()),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
                ("placed_at", models.DateTimeField(blank=True, null=True)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("changed_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "gift card payment",
                "db_table": "scrip_payment",
                "ordering": ("-id",),
                "permissions": (("refund_scrippayment", "Can refund a gift card payment"),),
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["state", "expires_at"], name="scrip_payment_open")],
            },
        ),
    ]
