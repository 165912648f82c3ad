"""A store that was tested with the fake finds the same at the service: every answer of both is compared."""

from contextlib import ExitStack
from datetime import timedelta

import pytest
from flask import Flask

from app import errors
from app.web.problems import HTTP_SLUGS, STATUS
from scrip_sdk.testing.refusals import REFUSALS, Refused
from tests.plugin_sdk.contract import CASES, Case, a_code_becomes_a_payment
from tests.plugin_sdk.sides import FakeSide, RealSide


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_fake_says_what_the_service_says(case: Case, app: Flask) -> None:
    fake = FakeSide()
    case(fake)
    fake.fake.assert_sums_agree()
    with ExitStack() as moved:
        real = RealSide(app, moved)
        case(real)
    assert fake.heard == real.heard


def test_a_fake_that_deviates_is_noticed(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REFUSALS, "not-found", (410, "Gone."))
    with pytest.raises(AssertionError):
        test_the_fake_says_what_the_service_says(CASES["somebody_elses_payment_is_not_found"], app)
    monkeypatch.setattr("scrip_sdk.testing.books.HOLD", timedelta(minutes=29))
    with pytest.raises(AssertionError):
        test_the_fake_says_what_the_service_says(a_code_becomes_a_payment, app)


def test_refusals_have_the_services_status_and_title() -> None:
    for slug, (status, title) in REFUSALS.items():
        slug = Refused(slug).slug
        kinds = [kind for kind in STATUS if kind.slug == slug]
        if kinds and title != "Not Found":
            assert (status, title) == (STATUS[kinds[0]], (kinds[0].__doc__ or "").splitlines()[0])
        else:
            assert HTTP_SLUGS.get(status, "internal-error") == slug


def test_every_slug_that_a_store_can_meet_is_known() -> None:
    issuers = ("two-secrets-live", "last-secret", "amount-outside-programme", "issuing-limit-reached")
    pages = ("link-not-accepted", "link-opened", "link-superseded", "link-lapsed", "card-held", "card-closed")
    browsers = ("checkout-not-found", "checkout-over", "captcha-needed")
    finance = ("break-open", "break-closed", "break-changed", "second-person-needed")
    known = {kind.slug for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Refusal)}
    assert known - {"refused"} == (set(REFUSALS) & known) | set(issuers) | set(pages) | set(browsers) | set(finance)
