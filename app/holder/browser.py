"""Which family of browser opened a link: a word for the holder to recognise, never the full User-Agent."""

OTHER = "another browser"

#: In this order, because most browsers also claim to be the ones further down.
FAMILIES = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Chromium/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Safari/", "Safari"),
)


def browser_family(user_agent: str | None) -> str:
    """The family's name, such as "Firefox", or "another browser"."""
    return next((name for mark, name in FAMILIES if mark in (user_agent or "")), OTHER)
