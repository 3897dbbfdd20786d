"""Data sets with a name: those of others by their layout, and one that is made here."""
