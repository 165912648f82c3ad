"""The books: double entry, append-only, under everything that moves money."""
