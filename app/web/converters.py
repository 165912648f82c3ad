"""Identifiers in paths: anything that is none is not found, and never reaches the database."""

from werkzeug.routing import BaseConverter, Map


class IdConverter(BaseConverter):
    """`<id(pay):payment_id>` matches identifiers of one kind only."""

    def __init__(self, url_map: Map, prefix: str) -> None:
        super().__init__(url_map)
        self.regex = f"{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}"
