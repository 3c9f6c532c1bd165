import re

import grpc
import pytest

import losswire_client
from losswire_client import InternalError, LosswireError, OverloadedError
from losswire_client._errors import ERRORS, translated
from losswire_server.errors import OverloadedError as ServerOverloadedError
from losswire_server.errors import to_status, trailers


class Failed(grpc.RpcError):
    """A call as a stub raises it."""

    def __init__(self, code, details="", metadata=()):
        self.code, self.details, self.trailing_metadata = lambda: code, lambda: details, lambda: metadata


def raised_for(error: grpc.RpcError) -> LosswireError:
    with pytest.raises(LosswireError) as raised, translated("host:1", 5):
        raise error
    return raised.value


def test_table_has_every_status_but_ok():
    assert set(ERRORS) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


@pytest.mark.parametrize("code", ERRORS, ids=lambda code: code.name)
def test_status_becomes_the_error_of_the_table(code):
    error = raised_for(Failed(code, "what happened"))
    assert type(error) is ERRORS[code]
    assert error.code is code
    assert str(error)


def test_every_error_is_in_the_table_or_below_one_that_is():
    errors = {
        value
        for value in vars(losswire_client).values()
        if isinstance(value, type) and issubclass(value, LosswireError)
    }
    assert errors - set(ERRORS.values()) == {LosswireError, OverloadedError}


def test_tree_in_the_docstring_is_the_tree():
    parents, drawn = [LosswireError], {}
    for branch, name in re.findall(r"^ {4}(.*?[├└]── )(\w+)", losswire_client.__doc__, re.MULTILINE):
        del parents[len(branch) // 4 :]
        drawn[name] = parents[-1]
        parents.append(getattr(losswire_client, name))
    errors = {v for v in vars(losswire_client).values() if isinstance(v, type) and issubclass(v, LosswireError)}
    assert drawn == {error.__name__: error.__bases__[0] for error in errors - {LosswireError}}


def test_overload_says_when_to_come_back():
    error = ServerOverloadedError("too much is in flight", 250)
    status = to_status(error)
    overloaded = raised_for(Failed(status.code, status.details, trailers(error, status)))
    assert type(overloaded) is OverloadedError
    assert overloaded.retry_seconds == 0.25


def test_details_that_contradict_the_status_are_no_reason_to_fail_otherwise():
    error = ServerOverloadedError("too much is in flight", 250)
    metadata = trailers(error, to_status(error))
    assert type(raised_for(Failed(grpc.StatusCode.INTERNAL, "other", metadata))) is InternalError
