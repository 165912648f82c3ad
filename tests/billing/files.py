"""Bills as files, received as they come."""

import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from app.billing.bill import Bill
from app.billing.files import CSV
from app.billing.lines import Line, ReadLine, WrongLine
from app.billing.read_csv import read_csv
from app.billing.receive import Received, receive_bill
from app.secrecy import random_secret

HEADER = "payment_id,amount,currency"


def this_month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"


def received(store_id: str, content: bytes | str, **more: Any) -> Received:
    """A CSV of this month's, unless said otherwise, under a reference of its own."""
    file = io.BytesIO(content.encode() if isinstance(content, str) else content)
    wanted = {"kind": CSV, "source": "api", "by": "test", "period": this_month(), "reference": random_secret()[:20]}
    return receive_bill(file, store_id=store_id, **{**wanted, **more})


def bill_of_csv(store_id: str, rows: Iterable[str], **more: Any) -> Bill:
    return received(store_id, "\n".join([HEADER, *rows]), **more).bill


def read_text(text: str | bytes, *, part: int = 2**20, currency: str | None = None) -> list[Line]:
    """What is read from a CSV that arrives in parts of this size."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text

    def parts() -> Iterator[bytes]:
        return (raw[at : at + part] for at in range(0, len(raw), part))

    return list(read_csv(parts, currency=currency))


def good(lines: Iterable[Line]) -> list[tuple[Any, ...]]:
    """The lines that could be read, without what was not said."""
    return [tuple(line) for line in lines if isinstance(line, ReadLine)]


def wrong(lines: Iterable[Line]) -> dict[int, str]:
    """Number and reason of those that could not."""
    return {line.line_no: line.reason for line in lines if isinstance(line, WrongLine)}
