"""Data sets with a name: built or read by one call each."""
