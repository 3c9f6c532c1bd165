"""Two files of the same rows, read side by side, as two models' distributions that are compared."""

from losswire_client._readers.sides._choice import Choice, Form, PairChoice, PairSource
from losswire_client._readers.sides._opening import open_pair
from losswire_client._readers.sides._pair import Pair, PairRows
from losswire_client._readers.sides._side import Side

__all__ = ["Choice", "Form", "Pair", "PairChoice", "PairRows", "PairSource", "Side", "open_pair"]
