"""The field for codes that stores show on their own pages, in a frame from our origin."""
