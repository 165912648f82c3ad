"""Oscar's checkout with gift cards, and a bank card for what they do not pay."""
