"""Tests of the card holder's pages, over HTTP and in a real browser."""
