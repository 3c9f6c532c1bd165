"""Heads, as both sides know them: their form, their digest, and where files have their tensors."""
