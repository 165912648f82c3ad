"""Exchange, settle, void, refund: a code becomes a payment, and a payment becomes money owed."""
