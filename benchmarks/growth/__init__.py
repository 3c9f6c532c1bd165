"""How time grows with a batch, and whether memory grows with their number."""
