"""Two tables: what the store holds of each gift card, and what it has to tell the service. No code is in either."""

from django.db import models
from django.db.models import Q

from scrip_sdk.money import Money
from scrip_sdk.outbox import LONGEST_ORDER_REFERENCE, LONGEST_REASON


class ScripPayment(models.Model):
    """A payment that the service keeps for this store: for a shopper's cart at first, then for an order.

    Amounts are in minor units of `currency`. The row is written when the card is taken, so before anything that must
    not be forgotten is asked of the service; the service's own record is the truth about the money.
    """

    class State(models.TextChoices):
        APPLIED = "applied", "applied: held for a shopper, no order yet"
        CONFIRMED = "confirmed", "confirmed: held for an order that is being placed"
        PLACED = "placed", "placed: the order stands, and is to be settled"
        SETTLED = "settled", "settled"
        VOIDING = "voiding", "to be given back"
        VOIDED = "voided", "given back"
        EXPIRED = "expired", "the hold ended before an order stood"

    payment_id = models.CharField("payment ID", max_length=64, unique=True)
    order_reference = models.CharField(max_length=LONGEST_ORDER_REFERENCE, db_index=True)
    state = models.CharField(max_length=12, choices=State.choices, default=State.APPLIED)
    currency = models.CharField(max_length=3)
    #: What the service holds, and so the most that an order can take.
    held_minor = models.PositiveBigIntegerField()
    #: What the order takes of it; nothing before there is one.
    amount_minor = models.PositiveBigIntegerField(default=0)
    settled_minor = models.PositiveBigIntegerField(default=0)
    refunded_minor = models.PositiveBigIntegerField(default=0)
    #: When the hold ends by itself, as the service said last.
    expires_at = models.DateTimeField()
    applied_at = models.DateTimeField()
    #: When the service was last asked to confirm it.
    confirmed_at = models.DateTimeField(null=True, blank=True)
    #: When it last said yes to that; none as long as nobody knows.
    answered_at = models.DateTimeField(null=True, blank=True)
    placed_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField()

    class Meta:
        app_label = "scrip"
        db_table = "scrip_payment"
        ordering = ("-id",)
        verbose_name = "gift card payment"
        default_permissions = ("view",)
        permissions = (("refund_scrippayment", "Can refund a gift card payment"),)
        indexes = (
            # what is looked for again and again: the few that are neither settled nor given back
            models.Index(fields=["state", "expires_at"], name="scrip_payment_open"),
        )

    def __str__(self) -> str:
        return f"{self.payment_id} for {self.order_reference}"

    @property
    def held(self) -> Money:
        return Money(self.held_minor, self.currency)

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)

    @property
    def settled(self) -> Money:
        return Money(self.settled_minor, self.currency)

    @property
    def refunded(self) -> Money:
        return Money(self.refunded_minor, self.currency)


class ScripInstruction(models.Model):
    """One thing to tell the service, kept until it has heard it: a row of the outbox, `scrip_sdk.outbox.Instruction`.

    It is written in the transaction of what makes it necessary: both stand, or neither. `key` is its Idempotency-Key,
    so that telling it twice does it once. `id` is the order in which they were added.
    """

    class Verb(models.TextChoices):
        SETTLE = "settle", "settle"
        VOID = "void", "give back"
        REFUND = "refund", "refund"

    class State(models.TextChoices):
        PENDING = "pending", "waiting"
        DONE = "done", "done"
        DEAD = "dead", "given up"

    instruction_id = models.CharField("ID", max_length=40, unique=True)
    key = models.CharField(max_length=255, unique=True)
    verb = models.CharField(max_length=8, choices=Verb.choices)
    payment_id = models.CharField("payment ID", max_length=64)
    order_reference = models.CharField(max_length=LONGEST_ORDER_REFERENCE)
    amount_minor = models.PositiveBigIntegerField(null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    final = models.BooleanField(default=True)
    reason = models.CharField(max_length=LONGEST_REASON, blank=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    tries = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    #: Not tried before this time.
    due_at = models.DateTimeField()
    #: Somebody is at it until then.
    lease_until = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    #: Why the last try came to nothing: the refusal's slug.
    last_error = models.CharField(max_length=100, blank=True)
    #: The service's name for what it did: the settlement or the refund.
    answer_id = models.CharField(max_length=64, blank=True)

    class Meta:
        app_label = "scrip"
        db_table = "scrip_instruction"
        ordering = ("-id",)
        verbose_name = "instruction to Scrip"
        verbose_name_plural = "instructions to Scrip"
        default_permissions = ("view",)
        permissions = (("retry_scripinstruction", "Can try a given-up instruction again"),)
        indexes = (
            models.Index(fields=["due_at"], name="scrip_instruction_due", condition=Q(state="pending")),
            models.Index(fields=["payment_id", "state", "id"], name="scrip_instruction_payment"),
        )

    def __str__(self) -> str:
        return f"{self.verb} {self.payment_id}"

    @property
    def amount(self) -> "Money | None":
        return None if self.amount_minor is None else Money(self.amount_minor, self.currency)
