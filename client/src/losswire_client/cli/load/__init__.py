"""Measures a server under load, from here."""

from losswire_client.cli.load._measure import TURNS, measure
from losswire_client.cli.load._measurement import Arrivals, Case, Measurement, Shape
from losswire_client.cli.load._picture import save_picture
from losswire_client.cli.load._report import as_json, shortfalls, table, write_csv

__all__ = [
    "TURNS",
    "Arrivals",
    "Case",
    "Measurement",
    "Shape",
    "as_json",
    "measure",
    "save_picture",
    "shortfalls",
    "table",
    "write_csv",
]
