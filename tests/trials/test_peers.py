"""Attacks at the socket of a server, in a short form of ``make fuzz-socket``."""

import pytest

from trials.peers.calls import CALLS
from trials.peers.http2 import HTTP2
from trials.peers.slow import SLOW
from trials.peers.trial import run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("attacks", [HTTP2, SLOW, CALLS], ids=["http2", "slow", "calls"])
def test_well_behaved_caller_is_served_all_the_while(attacks):
    ended = list(run(attacks, seconds=1.5, share=0.05, seed=0))
    assert {each.name: each.problems for each in ended if each.problems} == {}
    assert len(ended) == 1 + len(attacks)
    assert all(each.tries for each in ended[1:])
