"""What the example's model reads: the topics of Python's own help, which every installation has, cut into words."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pydoc_data.topics import topics

import torch
from torch import Tensor

WORD = re.compile(r"[A-Za-z_]+|\d|\n|[^\sA-Za-z_\d]")  # spaces are left out
LEAST_COUNT = 2  # a word that occurs less often is the unknown one
PARTS = 8  # of the topics, two of which are not trained on
LENGTH = 64  # words of a sequence


@dataclass(frozen=True)
class Words:
    """Texts as sequences of word numbers, (N, LENGTH + 1) in int64: each word is to be predicted from those before it.

    Attributes:
        class_count: How many words there are.
        train: What the model is trained on.
        held_out: Other topics, on which it is evaluated.
        new: Further topics, which it learns later.
    """

    class_count: int
    train: Tensor
    held_out: Tensor
    new: Tensor


def read_words() -> Words:
    """The topics as words. Which of them are held out is a matter of their order alone."""
    names = sorted(topics)
    others = names[PARTS - 1 :: PARTS], names[PARTS // 2 - 1 :: PARTS]
    texts = [_words(name for name in names if name not in chain(*others)), *map(_words, others)]
    counts = Counter(texts[0])
    known = sorted(word for word, count in counts.items() if count >= LEAST_COUNT)
    numbers = {word: number for number, word in enumerate(known, start=1)}  # 0 is the unknown word
    return Words(len(known) + 1, *(_sequences([numbers.get(word, 0) for word in text]) for text in texts))


def _words(names: Iterable[str]) -> Sequence[str]:
    return [word for name in names for word in WORD.findall(topics[name])]


def _sequences(numbers: Sequence[int]) -> Tensor:
    """Sequences of which each begins with the last word of the one before it."""
    return torch.tensor(numbers).unfold(0, LENGTH + 1, LENGTH)
