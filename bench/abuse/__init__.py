"""Abuse of the service by people who guess, on this machine alone and bounded in time, and what it does to others."""
