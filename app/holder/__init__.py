"""The card holder's pages."""
