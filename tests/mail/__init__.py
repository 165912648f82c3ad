"""Tests of what we send to people."""
