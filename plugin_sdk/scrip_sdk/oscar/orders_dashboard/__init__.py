"""Oscar's dashboard of orders, from which a gift card gets money back."""
