import pytest

from ce_engine.cpu import _native


@pytest.fixture(scope="module", params=["compiled", "operators"])
def either_softmax(request):
    """Softmax by compiled code, and by PyTorch's operators, which stand in where nothing could be compiled."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "operators":
            patch.setattr(_native, "_softmax", {})
        elif not _native.compiled():
            pytest.skip("nothing was compiled: there was no C++ compiler")
        yield
