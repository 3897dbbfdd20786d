"""The verbs of the command ``geocsp`` that have a file of their own."""
