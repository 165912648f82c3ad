"""Input that nobody meant: drawn from the OpenAPI document, hostile on the wire, or forged."""
