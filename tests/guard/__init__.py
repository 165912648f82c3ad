"""Tests of how often anyone may try."""
