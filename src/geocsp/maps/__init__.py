"""Maps: grids of the globe and how to draw them."""
