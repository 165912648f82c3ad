"""Issue, claim, reissue: money becomes a card, and a card becomes a code."""
