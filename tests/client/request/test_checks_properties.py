"""SDK, server and engine judge any arguments alike, except that the SDK does not judge numbers."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from losswire.losses import LOSSES
from tests.client.request.any_calls import ARGUMENTS, AnyCall
from tests.client.request.verdicts import Refusal, of_the_engine, of_the_plan, of_the_sdk, of_the_server

losses = st.sampled_from([name for name, kind in LOSSES.items() if not kind.classes_last])  # heads judge the others
seeds = st.integers(0, 2**32 - 1)
few = st.lists(st.sampled_from(ARGUMENTS), max_size=3)


@settings(max_examples=400)
@given(losses, seeds, few)
def test_judgements_agree(loss, seed, wrong):
    arguments = AnyCall(loss, seed, wrong).arguments
    verdict, told = of_the_engine(loss, arguments), of_the_plan(loss, arguments)
    if LOSSES[loss].classes_last:  # the engine looks at heads first, and the SDK knows none
        assert of_the_sdk(loss, arguments) in (None, told)
        assert (told is None) == (verdict is None)
        return
    assert of_the_sdk(loss, arguments) == (None if is_of_numbers(verdict) else verdict)
    assert told == verdict


@settings(max_examples=200)
@given(loss=losses, seed=seeds, wrong=few)
def test_judgements_agree_over_the_wire(client, loss, seed, wrong):
    arguments = AnyCall(loss, seed, wrong).arguments
    assert of_the_server(client, loss, arguments) == of_the_plan(loss, arguments)


def is_of_numbers(verdict: Refusal | None) -> bool:
    return verdict is not None and re.search(r" at (row|element) [0-9]+$", verdict.text) is not None
