"""What a server does under load, seen from here."""

from losswire_client.cli.load._measure import TURNS, measure
from losswire_client.cli.load._measurement import Case, Measurement, Shape
from losswire_client.cli.load._picture import save_picture
from losswire_client.cli.load._report import as_json, table

__all__ = ["TURNS", "Case", "Measurement", "Shape", "as_json", "measure", "save_picture", "table"]
