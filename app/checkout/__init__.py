"""The hosted checkout: a holder types a code at our page, and the store gets a payment without ever seeing the code."""
