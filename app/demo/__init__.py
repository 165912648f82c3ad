"""The demo: everything that Scrip needs, on one machine, with one command."""
