"""A specification as a picture: what boxes say, where they stand, and the SVG of it. No torch."""
