"""Reports over real books."""
