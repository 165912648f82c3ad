"""Pictures of pages, for people to look at: nobody does in continuous integration, where taking them costs minutes."""

import os
from pathlib import Path

from playwright.sync_api import Page

FOLDER = Path(__file__).parents[1] / "artefacts"
IS_LOOKED_AT = os.environ.get("CI") != "true"


def photograph(page: Page, room: str, name: str, *, full_page: bool = False) -> None:
    """Keeps a picture of the page under `artefacts/`, in the folder of its room."""
    if IS_LOOKED_AT:
        (FOLDER / room).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=FOLDER / room / f"{name}.png", full_page=full_page)
