"""Sums over the losses of a file. Each kind of sum has its own module."""
