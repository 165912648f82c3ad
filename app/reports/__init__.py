"""What finance and issuers are told of the books: statements, liability, ageing, and the journal."""
