import json

import pytest


@pytest.fixture
def compared(losswire):
    """The JSON that ``losswire compare --json`` writes."""

    def run(*arguments):
        result = losswire("compare", "--json", "--batch-rows", 30, *arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return run


@pytest.fixture
def refused(losswire):
    """The line with which ``losswire compare`` ends, and its exit code."""

    def run(*arguments):
        result = losswire("compare", *arguments)
        assert result.stderr.count("\n") == 1
        return result.exit_code, result.stderr.removeprefix("losswire: ").rstrip()

    return run
