"""Histories: what concurrent clients were answered while faults ran, and whether any legal order explains it."""
