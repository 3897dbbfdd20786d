"""Data: geo-tagged images in, one table and honest splits out."""
