"""Commands of pretix."""
