"""A check of the audit: one thing that must hold, and the query for what breaks it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold. `query` selects what breaks it: an identifier, and what is wrong with it."""

    name: str
    query: str
