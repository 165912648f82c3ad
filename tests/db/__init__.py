"""Tests of the plumbing to PostgreSQL."""
