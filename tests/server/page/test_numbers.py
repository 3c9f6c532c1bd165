import shutil
from pathlib import Path

import pytest

from tests.processes import run


def test_page_s_computations_are_right():
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    done = run(["node", "--test", Path(__file__).with_name("numbers.test.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "# pass 10\n" in done.stdout
