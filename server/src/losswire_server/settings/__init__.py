"""The server's settings, one file for each group of them. Imported by all rooms; loads no torch."""

from losswire_server.settings.model import Settings

__all__ = ["Settings"]
