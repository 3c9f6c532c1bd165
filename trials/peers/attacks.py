"""All attacks, by their names."""

from collections.abc import Mapping

from trials.peers.attack import Attack
from trials.peers.calls import CALLS
from trials.peers.http2 import HTTP2
from trials.peers.slow import SLOW

ATTACKS: Mapping[str, Attack] = {attack.__name__: attack for attack in (*HTTP2, *SLOW, *CALLS)}
