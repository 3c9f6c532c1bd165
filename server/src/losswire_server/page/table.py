"""The table of figures in JSON's types. The page knows no metric but those in it."""

from typing import Any

from losswire.monitoring.expressions import to_json
from losswire.monitoring.figure import Figure
from losswire.monitoring.figures import SECTIONS


def table() -> dict[str, Any]:
    """The sections of the table, in order, with all figures."""
    sections = [{"title": title, "figures": [_figure(each) for each in figures]} for title, figures in SECTIONS.items()]
    return {"sections": sections}


def _figure(figure: Figure) -> dict[str, Any]:
    curves = [{"name": curve.name, "expression": to_json(curve.expression)} for curve in figure.curves]
    texts = {"key": figure.key, "title": figure.title, "unit": figure.unit, "meaning": figure.meaning}
    return {**texts, "only": figure.only, "curves": curves}
