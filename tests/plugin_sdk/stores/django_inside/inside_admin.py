"""The back office: what it shows, whom it lets refund, and that a form that is sent twice refunds once."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.db import transaction
from django.test import Client

from scrip_sdk import Money, Payment
from scrip_sdk.django import client, payments
from scrip_sdk.django.delivery import deliver_all
from scrip_sdk.django.models import ScripInstruction, ScripPayment
from scrip_sdk.django.outbox import DjangoOutbox
from scrip_sdk.django.signals import instruction_given_up
from scrip_sdk.django.times import now, stored
from scrip_sdk.outbox import Instruction, refund_later

Held = Callable[..., Payment]


def browser(*permissions: str) -> Client:
    """Somebody of the staff, with these permissions only."""
    User.objects.filter(username="staff").delete()
    person = User.objects.create_user("staff", password="x", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    logged_in = Client()
    logged_in.force_login(person)
    return logged_in


VIEW = ("view_scrippayment", "view_scripinstruction")
REFUND, RETRY = "refund_scrippayment", "retry_scripinstruction"


@pytest.fixture
def row(held: Held) -> ScripPayment:
    """A settled payment of 30.00 GBP."""
    taken = payments.record(held(), order_reference="order-1")
    payments.confirm("order-1", {taken.payment_id: Money(3_000, "GBP")})
    with transaction.atomic():
        payments.place("order-1", {taken.payment_id: Money(3_000, "GBP")})
    taken.refresh_from_db()
    return taken


def page_of(answer: "object", status: int = 200) -> str:
    assert answer.status_code == status, answer.status_code  # type: ignore[attr-defined]
    return str(answer.content.decode())  # type: ignore[attr-defined]


def test_the_lists_show_what_the_store_holds(row: ScripPayment) -> None:
    staff = browser(*VIEW)
    listed = page_of(staff.get("/admin/scrip/scrippayment/?state__exact=settled"))
    assert row.payment_id in listed and "30.00 GBP" in listed and "order-1" in listed
    assert row.payment_id not in page_of(staff.get("/admin/scrip/scrippayment/?state__exact=placed"))
    assert row.payment_id in page_of(staff.get("/admin/scrip/scrippayment/?q=order-1"))
    assert "settle" in page_of(staff.get("/admin/scrip/scripinstruction/?state__exact=done&verb__exact=settle"))
    one = page_of(staff.get(f"/admin/scrip/scrippayment/{row.pk}/change/"))
    assert "Instructions to Scrip" in one and "Refund to the card" not in one


def test_nobody_changes_rows_by_hand(row: ScripPayment) -> None:
    User.objects.filter(username="root").delete()
    root = Client()
    root.force_login(User.objects.create_superuser("root", password="x"))
    for model, pk in (("scrippayment", row.pk), ("scripinstruction", ScripInstruction.objects.get().pk)):
        for action in (f"{pk}/delete/", "add/"):
            assert root.post(f"/admin/scrip/{model}/{action}", {"post": "yes"}).status_code == 403
        assert root.post(f"/admin/scrip/{model}/{pk}/change/", {"state": "voided"}).status_code == 403
    row.refresh_from_db()
    assert row.state == "settled"


def test_a_refund_needs_its_permission(row: ScripPayment) -> None:
    for permissions in (VIEW, (*VIEW, RETRY)):
        staff = browser(*permissions)
        for send in (staff.get, staff.post):
            assert send(f"/admin/scrip/scrippayment/{row.pk}/refund/").status_code == 403
    assert "login" in Client().get(f"/admin/scrip/scrippayment/{row.pk}/refund/")["Location"]


def test_a_refund_reaches_the_card_once_however_often_the_form_is_sent(row: ScripPayment) -> None:
    staff, where = browser(*VIEW, REFUND), f"/admin/scrip/scrippayment/{row.pk}/refund/"
    assert "Refund to the card" in page_of(staff.get(f"/admin/scrip/scrippayment/{row.pk}/change/"))
    form = page_of(staff.get(where))
    nonce = re.search(r'name="nonce" value="([\w-]+)"', form)
    assert nonce is not None and 'value="30.00"' in form
    for _ in range(2):
        sent = staff.post(where, {"amount": "12.50", "reason": "One book came back", "nonce": nonce[1]})
        assert sent.status_code == 302, sent.content.decode()
    assert client().get(row.payment_id).refunded == Money(1_250, "GBP")
    row.refresh_from_db()
    assert row.refunded_minor == 1_250


def test_a_wrong_amount_is_said_and_nothing_is_refunded(row: ScripPayment) -> None:
    staff = browser(*VIEW, REFUND)
    for amount in ("30.01", "-1", "0", "0.00", "1.005", "1e3", "NaN", "", "12,50", "9" * 40):
        answer = staff.post(f"/admin/scrip/scrippayment/{row.pk}/refund/", {"amount": amount, "nonce": "once"})
        assert "errorlist" in page_of(answer), amount
    assert [one.verb for one in DjangoOutbox().list()] == ["settle"]


def test_what_waits_is_tried_at_once_and_what_is_done_is_left_alone(row: ScripPayment) -> None:
    staff, done = browser(*VIEW, RETRY), ScripInstruction.objects.get()
    waits = DjangoOutbox().add(refund_later(row.payment_id, Money(100, "GBP"), order_reference="order-1", part="1"))
    later = ScripInstruction.objects.get(instruction_id=waits.id)
    ScripInstruction.objects.filter(pk=later.pk).update(due_at=stored(now() + timedelta(hours=1)))
    chosen = {"action": "try_again", "_selected_action": [done.pk, later.pk]}
    answer = staff.post("/admin/scrip/scripinstruction/", chosen, follow=True)
    assert "1 are tried again" in page_of(answer)
    assert client().get(row.payment_id).refunded == Money(100, "GBP")
    assert [(one.id == waits.id, one.state) for one in DjangoOutbox().list()] == [(False, "done"), (True, "done")]


def test_an_order_that_fell_through_is_cancelled_from_the_list(held: Held, row: ScripPayment) -> None:
    """With the permission to refund; what was settled stays."""
    waits = payments.record(held("order-2"), order_reference="order-2")
    payments.confirm("order-2", {waits.payment_id: Money(3_000, "GBP")})
    with transaction.atomic():
        payments.place("order-2", {waits.payment_id: Money(3_000, "GBP")}, settle=False)
    chosen = {"action": "cancel", "_selected_action": [row.pk, waits.pk]}
    for permissions, state in ((VIEW, "held"), ((*VIEW, REFUND), "voided")):
        browser(*permissions).post("/admin/scrip/scrippayment/", chosen)
        assert client().get(waits.payment_id).state == state
    row.refresh_from_db()
    assert row.state == "settled"


def test_what_was_given_up_is_told_aloud_and_tried_again_from_the_list(held: Held) -> None:
    heard: list[Instruction] = []

    def listen(*, instruction: Instruction, **_: object) -> None:
        heard.append(instruction)

    instruction_given_up.connect(listen)
    taken = payments.record(held(), order_reference="order-1")
    payments.confirm("order-1", {taken.payment_id: Money(3_000, "GBP")})
    client().void(taken.payment_id)  # behind the store's back
    with transaction.atomic():
        payments.place("order-1", {taken.payment_id: Money(3_000, "GBP")})
    instruction_given_up.disconnect(listen)
    dead = ScripInstruction.objects.get()
    assert (dead.state, dead.last_error) == ("dead", "payment-closed")
    assert [one.last_error for one in heard] == ["payment-closed"]
    [letter] = mail.outbox
    assert "order-1" in letter.subject and taken.payment_id in letter.body
    for permissions, state in ((VIEW, "dead"), ((*VIEW, RETRY), "pending")):
        staff = browser(*permissions)
        chosen = {"action": "try_again", "_selected_action": [dead.pk]}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("scrip_sdk.django.admin.deliver_after_commit", lambda _: None)
            staff.post("/admin/scrip/scripinstruction/", chosen)
        dead.refresh_from_db()
        assert dead.state == state
    assert deliver_all().dead == 1
