"""A small bookshop on django-oscar that takes gift cards and, for the rest, a bank card that moves no money."""
