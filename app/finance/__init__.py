"""What the machines of finance read and do: breaks and bills of all stores of their mode."""
