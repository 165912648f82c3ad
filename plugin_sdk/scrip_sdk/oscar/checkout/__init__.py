"""Oscar's checkout with gift cards, ready to stand in INSTALLED_APPS in place of `oscar.apps.checkout`."""
