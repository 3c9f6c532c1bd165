import pytest

from ce_engine import _libraries


@pytest.fixture(scope="module", params=["compiled", "operators"])
def either_kernels(request):
    """Compiled kernels, and PyTorch's operators, which replace them if compiling fails."""
    if request.param == "compiled":
        if _libraries.library() is None:
            pytest.skip("nothing was compiled: there was no C++ compiler")
        yield
    else:
        with _libraries.using(None):
            yield


@pytest.fixture(scope="module", params=["avx512", "avx2", "baseline"])
def each_library(request):
    """Each library of compiled kernels that this CPU can run."""
    if request.param not in _libraries.runnable():
        pytest.skip(f"this CPU cannot run {request.param}, or there was no C++ compiler")
    with _libraries.using(request.param):
        yield
