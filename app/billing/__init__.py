"""What stores are owed is billed by them, matched here, and told to whom it concerns."""
