"""Files that people gave us: handed out to be saved, never to be shown by a browser."""

from flask import Response

FILE_TYPE = "application/octet-stream"


def to_save(name: str, content: bytes) -> Response:
    """The file as an attachment of no type, whatever type it says it has."""
    answer = Response(content, mimetype=FILE_TYPE)
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer
