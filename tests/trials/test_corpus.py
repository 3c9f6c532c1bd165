"""The corpus of the fuzzers, without a fuzzer: what it has found once stays mended."""

import random

import pytest

from trials.fuzz import corpus
from trials.fuzz.targets import TARGETS

MAX_CORPUS_BYTES = 10**6
SEEDS = 20


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_of_the_corpus_is_a_finding(name):
    inputs = corpus.load(name)
    assert len(inputs) > 20
    for data in inputs:
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_mutations_are_inputs(name):
    target, rng = TARGETS[name], random.Random(0)
    for _ in range(SEEDS):
        data = target.seed(rng)
        target.run(data)
        target.run(target.mutate(data, rng))


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_come_again_by_their_seed(name):
    target = TARGETS[name]
    data = target.seed(random.Random(1))
    assert data == target.seed(random.Random(1))
    assert target.mutate(data, random.Random(2)) == target.mutate(data, random.Random(2))


def test_corpus_is_small():
    assert {path.stem for path in corpus.FOLDER.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in corpus.FOLDER.iterdir()) < MAX_CORPUS_BYTES
