"""The browser that opened a link is named by its family, never by its full User-Agent."""

import pytest

from app.holder.browser import OTHER, browser_family

MOZILLA = "Mozilla/5.0"
WINDOWS = f"{MOZILLA} (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36"
IPHONE = f"{MOZILLA} (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
ANDROID = f"{MOZILLA} (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "family"),
    [
        (f"{MOZILLA} (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox"),
        (f"{IPHONE} FxiOS/145.0 Mobile/15E148 Safari/605.1.15", "Firefox"),
        (WINDOWS, "Chrome"),
        (WINDOWS.replace("Chrome/", "HeadlessChrome/"), "Chrome"),
        (f"{IPHONE} CriOS/142.0 Mobile/15E148 Safari/604.1", "Chrome"),
        (f"{WINDOWS} Edg/142.0", "Edge"),
        (f"{ANDROID} Chrome/142.0 Mobile Safari/537.36 EdgA/142.0", "Edge"),
        (f"{WINDOWS} OPR/124.0", "Opera"),
        (f"{ANDROID} SamsungBrowser/29.0 Chrome/136.0 Mobile Safari/537.36", "Samsung Internet"),
        (f"{IPHONE} Version/19.1 Mobile/15E148 Safari/604.1", "Safari"),
        ("curl/8.14.1", OTHER),
        ("<script>alert(1)</script>", OTHER),
        ("", OTHER),
        (None, OTHER),
    ],
)
def test_family(user_agent: str | None, family: str) -> None:
    assert browser_family(user_agent) == family
