"""The numbers that options may be. float32 has their reciprocals, and products and quotients of any two of them."""

LEAST, MOST = 1e-15, 1e15
MARGIN = 1e-15  # of a share from 0 and 1: then float32 has the share, and what is left of 1


def problem_of(number: float, least: float = LEAST) -> str:
    """What is wrong with a number; empty if nothing is."""
    return "" if least <= number <= MOST else f"expected a number from {least:g} to 1e15, got {number}"


def problem_of_share(number: float) -> str:
    """The same of a share that is neither nothing nor all."""
    if MARGIN <= number <= 1 - MARGIN:
        return ""
    return f"expected a number in (0, 1), at least 1e-15 from both, got {number}"
