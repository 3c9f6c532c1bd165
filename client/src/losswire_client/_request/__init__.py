"""From a caller's arguments to an evaluation. Imports no other folder of this package."""
