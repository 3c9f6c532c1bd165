"""Output layers, which make logits of hidden states."""
