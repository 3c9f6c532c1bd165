"""What requests ask of runs: exact sums, a place under a key, and runs as messages."""
