"""The alarms that concern a party, as its machines read them."""
