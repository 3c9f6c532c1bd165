"""Output layers in files of safetensors: found, and read without the other tensors."""

from losswire_client._readers.heads._loading import HeadContent, read_head

__all__ = ["HeadContent", "read_head"]
