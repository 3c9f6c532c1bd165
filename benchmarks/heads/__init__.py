"""Measures losses of hidden states: by the engine beside PyTorch, and by the service beside logits that travel."""
