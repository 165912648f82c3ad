"""A model of the service beside the service: both walk the same random path and must agree after every step."""
