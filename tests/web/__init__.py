"""Tests of the plumbing to HTTP."""
