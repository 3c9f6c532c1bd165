import pytest

from losswire_client._tracing.conventions import server_attributes


@pytest.mark.parametrize(
    ("target", "attributes"),
    [
        ("losses:50051", {"server.address": "losses", "server.port": 50051}),
        ("dns:///losses:50051", {"server.address": "losses", "server.port": 50051}),
        ("dns://1.2.3.4/losses:50051", {"server.address": "losses", "server.port": 50051}),
        ("[::1]:50051", {"server.address": "::1", "server.port": 50051}),
        ("unix:///run/losswire.sock", {"server.address": "/run/losswire.sock"}),
        ("unix:/run/losswire.sock", {"server.address": "/run/losswire.sock"}),
        ("a:1, b:2", {"server.address": "a:1, b:2"}),
        ("xds:///losses", {"server.address": "xds:///losses"}),
    ],
)
def test_address_is_told_as_the_convention_has_it(target, attributes):
    assert server_attributes(target) == attributes
