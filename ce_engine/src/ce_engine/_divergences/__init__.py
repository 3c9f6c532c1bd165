"""Divergences of two distributions: what rows have in common, and the numbers by PyTorch's operators."""
