"""Each state of the field is photographed on a phone and a desktop, light and dark, for people to look at."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.holder.conftest import DESKTOP, PHONE, SMALL_PHONE
from tests.pictures import IS_LOOKED_AT, photograph
from tests.widget.conftest import MISTYPED, UNKNOWN, Shop, field_of, frame_of, type_in

pytestmark = pytest.mark.browser

STYLE = """
:root { color-scheme: light dark } body { margin: 0; font: 16px/1.5 system-ui; background: Canvas; color: CanvasText }
main { max-width: 30rem; margin: 0 auto; padding: 1.25rem } h1 { font-size: 1.375rem; margin: 0 0 1rem }
button { margin-top: 1rem; width: 100%; padding: .875rem; border: 0; border-radius: 8px; font: inherit }
output { display: none }
"""
OWN = (
    STYLE
    + """scrip-code { --scrip-accent: #7a1fa2; --scrip-border: #c9a7d8; --scrip-radius: 22px;
--scrip-font-size: 18px; --scrip-background: #fdf7ff; --scrip-color: #3a0d4e; --scrip-muted: #8a5f9c }"""
)


CASES: dict[str, tuple[Any, Any, str]] = {
    "small-light": (SMALL_PHONE, "light", STYLE),
    "phone-dark": (PHONE, "dark", STYLE),
    "desktop-own": (DESKTOP, "light", OWN),
    "phone-rtl": (PHONE, "light", STYLE + "html { direction: rtl }"),
}


@pytest.mark.parametrize("name", CASES if IS_LOOKED_AT else ["phone-dark"])
def test_photograph(new_page: Callable[..., Page], shop: Shop, code: str, name: str) -> None:
    viewport, scheme, shop.style = CASES[name]
    page = new_page(viewport=viewport, color_scheme=scheme, device_scale_factor=2)
    page.goto(shop.origin)
    alert, field = frame_of(page).get_by_role("alert"), field_of(page)
    keep(page, f"1-empty-{name}")
    type_in(page, MISTYPED)
    expect(alert).to_contain_text("typing mistake")
    keep(page, f"2-mistyped-{name}")
    field.fill(UNKNOWN)
    page.keyboard.press("Enter")
    expect(alert).to_contain_text("not accepted")
    keep(page, f"3-refused-{name}")
    field.fill(code)
    expect(alert).to_have_text("")
    keep(page, f"4-typed-{name}")
    page.keyboard.press("Enter")
    expect(frame_of(page).get_by_role("status")).to_have_text("Code accepted.")
    keep(page, f"5-accepted-{name}")


def keep(page: Page, name: str) -> None:
    page.wait_for_timeout(100)  # the frame's height follows its content
    photograph(page, "widget", name)
