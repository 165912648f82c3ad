"""Scrip for pretix 2026.8: gift cards pay for orders, alone, several of them, or beside another method.

pretix finds it by the entry point group `pretix.plugin`, and the outbox of `scrip_sdk.django` with it. An event's
organizer switches the plugin on and says the client in the payment settings. docs/plugins-pretix.md shows both.
"""
