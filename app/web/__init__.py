"""Plumbing to HTTP: problems, request context, logs, headers."""
