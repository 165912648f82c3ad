"""Which machine is calling: OAuth 2.0 between stores, issuers and the service."""
