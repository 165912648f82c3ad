"""Tests of bills, their breaks, and what is paid for them."""
