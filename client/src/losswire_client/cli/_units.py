"""Numbers as people read them."""

import math

PREFIXES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def seconds(value: float) -> str:
    """A duration in a suitable unit: ``1.24 ms``."""
    size, unit = next((prefix for prefix in PREFIXES if value >= prefix[0]), PREFIXES[-1])
    return f"{significant(value / size)} {unit}"


def significant(value: float) -> str:
    """Three significant digits, but all digits before the decimal point: ``0.0124``, ``1.24``, ``12,400``."""
    if math.isfinite(value) and abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
