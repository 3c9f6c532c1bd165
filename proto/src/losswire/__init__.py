"""The contract of Losswire, without I/O: messages (``losswire.v1``), dtypes and tensors."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("losswire")
