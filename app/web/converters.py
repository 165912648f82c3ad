"""Identifiers in paths: anything that is none is not found, and never reaches the database."""

from werkzeug.routing import BaseConverter, Map

from app.ids import pattern_of


class IdConverter(BaseConverter):
    """`<id(pay):payment_id>` matches identifiers of one kind only."""

    def __init__(self, url_map: Map, prefix: str) -> None:
        super().__init__(url_map)
        self.regex = pattern_of(prefix)


def document_id(converter: IdConverter) -> dict[str, str]:
    """The parameter's schema in the OpenAPI document."""
    return {"type": "string", "pattern": f"^{converter.regex}$"}
