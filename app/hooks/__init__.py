"""What is told to other people's machines."""
