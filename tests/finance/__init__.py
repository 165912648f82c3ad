"""Tests of what finance's machines read and do."""
