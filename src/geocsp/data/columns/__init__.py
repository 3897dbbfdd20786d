"""What the columns of a table mean: places, times, numbers."""
