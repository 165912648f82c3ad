"""The process's logging as it was before a test changed it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def logging_stays() -> Iterator[None]:
    """Whatever the block does to handlers, filters and the making of records is undone at its end."""
    factory, handlers = logging.getLogRecordFactory(), list(logging.root.handlers)
    filters = {each: list(each.filters) for each in (*handlers, logging.lastResort) if each}
    yield
    logging.setLogRecordFactory(factory)
    logging.root.handlers[:] = handlers
    for each, before in filters.items():
        each.filters[:] = before
