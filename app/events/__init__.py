"""What happened: one append-only event for every change of state."""
