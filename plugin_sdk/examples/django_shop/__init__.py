"""A Django shop of one's own that sells one book, and takes gift cards for it."""
