"""What we send to people."""
