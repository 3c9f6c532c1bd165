"""How time grows with the size of a batch, and whether memory grows with the number of batches."""
