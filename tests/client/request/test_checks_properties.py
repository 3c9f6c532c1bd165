"""Whatever the arguments, the SDK and the server judge them alike."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.client.request.any_calls import ARGUMENTS, AnyCall
from tests.client.request.verdicts import DEFAULTS, of_the_plan, of_the_sdk, of_the_server

losses = st.sampled_from(list(DEFAULTS))
seeds = st.integers(0, 2**32 - 1)
few = st.lists(st.sampled_from(ARGUMENTS), max_size=3)


@settings(max_examples=1000)
@given(losses, seeds, few)
def test_sdk_and_server_judge_alike(loss, seed, wrong):
    arguments = AnyCall(loss, seed, wrong).arguments
    assert of_the_sdk(loss, arguments) == of_the_plan(loss, arguments)


@settings(max_examples=200)
@given(loss=losses, seed=seeds, wrong=few)
def test_sdk_and_server_judge_alike_over_the_wire(client, loss, seed, wrong):
    arguments = AnyCall(loss, seed, wrong).arguments
    assert of_the_sdk(loss, arguments) == of_the_server(client, loss, arguments)
