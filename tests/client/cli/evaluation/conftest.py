import pytest


@pytest.fixture
def refused(losswire):
    """The line with which ``losswire eval`` ends, and its exit code."""

    def run(*arguments):
        result = losswire("eval", *arguments)
        assert result.stderr.count("\n") == 1
        return result.exit_code, result.stderr.removeprefix("losswire: ").rstrip()

    return run
