"""Benchmarks: how fast the service is, and on how many cards."""
