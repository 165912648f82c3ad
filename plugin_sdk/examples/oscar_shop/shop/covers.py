"""The books' covers: drawn by the seed command, and shown as they are."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from django.conf import settings
from oscar.core.thumbnails import AbstractThumbnailer
from PIL import Image, ImageDraw, ImageFont

SIZE = (300, 420)


@dataclass(frozen=True)
class Thumbnail:
    """What Oscar's templates ask of a thumbnail."""

    url: str


class Cover(AbstractThumbnailer):
    """Browsers scale the few covers well enough."""

    def generate_thumbnail(self, source: Any, **opts: object) -> Thumbnail:
        """Where the picture itself is."""
        return Thumbnail(f"{settings.MEDIA_URL}{source}")

    def delete_thumbnails(self, source: Any) -> None:
        """There are none."""


def draw_cover(title: str, author: str, colour: str) -> bytes:
    """A PNG: the title over the author on one colour."""
    picture = Image.new("RGB", SIZE, colour)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((12, 12, SIZE[0] - 13, SIZE[1] - 13), outline="#ffffff", width=2)
    pen.multiline_text((30, 60), "\n".join(_lines(title)), "#ffffff", ImageFont.load_default(34), spacing=10)
    pen.text((30, SIZE[1] - 60), author, "#ffffff", ImageFont.load_default(20))
    png = BytesIO()
    picture.save(png, "PNG", optimize=True)
    return png.getvalue()


def _lines(title: str) -> list[str]:
    lines = [""]
    for word in title.split():
        if len(lines[-1]) + len(word) > 13 and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
