import pytest

from ce_engine.cpu import _native


@pytest.fixture(scope="module", params=["compiled", "operators"])
def either_softmax(request):
    """Softmax by compiled code, and by PyTorch's operators, which replace it if compiling fails."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "operators":
            patch.setattr(_native, "_softmax", {})
        elif not _native.compiled():
            pytest.skip("nothing was compiled: there was no C++ compiler")
        yield
