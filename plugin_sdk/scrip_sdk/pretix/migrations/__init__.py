"""The table, step by step."""
