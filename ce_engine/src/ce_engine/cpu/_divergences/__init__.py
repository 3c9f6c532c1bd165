"""Divergences on a CPU: by compiled kernels, by PyTorch's operators, and of hidden states."""
