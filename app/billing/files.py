"""The kinds of file that a bill comes as, and how the lines of each are read."""

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import BinaryIO

from app.billing.lines import Line, Unreadable
from app.billing.read_csv import read_csv
from app.billing.read_json import Head, read_head, read_json
from app.money import is_currency

JSON, CSV = "application/json", "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
#: A file is kept in parts of this size.
PART_BYTES = 1024 * 1024
#: Lines by which a hopeless file is known.
LOOKED_AT = 1_000

Open = Callable[[], Iterable[bytes]]


def parts_of(file: BinaryIO) -> Iterator[bytes]:
    """The file from its beginning, in parts of PART_BYTES."""
    file.seek(0)
    while part := file.read(PART_BYTES):
        yield part


def media_type_of(kind: str, currency: str | None) -> str:
    """How it is written down: with the currency of the lines that name none."""
    return f"{kind};currency={currency}" if currency else kind


def read_file(media_type: str, open_parts: Open) -> Iterator[Line]:
    """The lines of the file, and the wrong ones, in their order. Raises Unreadable."""
    kind, _, parameter = media_type.partition(";currency=")
    currency = parameter or None
    if kind == JSON:
        return read_json(open_parts())
    if kind == CSV:
        return read_csv(open_parts, currency=currency)
    return _read_xlsx(open_parts, currency)


def check_file(media_type: str, open_parts: Open) -> Head | None:
    """Looks at a file as far as shows whether it is hopeless; what a JSON bill says of itself. Raises Unreadable."""
    _, _, currency = media_type.partition(";currency=")
    if currency and not is_currency(currency):
        raise Unreadable("The currency that is given for the whole is none of ISO 4217.")
    head = read_head(open_parts()) if media_type.partition(";")[0] == JSON else None
    deque(islice(read_file(media_type, open_parts), LOOKED_AT), maxlen=0)
    return head


def _read_xlsx(open_parts: Open, currency: str | None) -> Iterator[Line]:
    from app.billing.read_xlsx import read_xlsx  # loads a library that only few files need

    with tempfile.TemporaryFile() as file:
        for part in open_parts():
            file.write(part)
        yield from read_xlsx(file, currency=currency)
