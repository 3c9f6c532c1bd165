"""The modules of losswire_client.torch, its default client, and how little of a program has to change for it."""

import copy
import importlib
import inspect
import itertools
import pickle
import sys
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import losswire_client.torch
import losswire_client.torch.nn
import losswire_client.torch.nn.functional
from losswire_client import Client, InvalidArgumentError
from losswire_client.torch import set_default_client
from tests.ce_engine.losses.test_conformance import MODULES, samples
from tests.present import present

FUNCTIONS = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "nll_loss")
CLASSES = ("BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss")
OWN_FUNCTIONS = ("kl_divergence", "linear_cross_entropy")
OWN_CLASSES = ("KlDivergence", "LinearCrossEntropyLoss")
LOGITS, TARGET = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 3, 1])


@pytest.fixture(autouse=True)
def _no_default_client():
    yield
    set_default_client(None)


@pytest.fixture
def other_target():
    return "127.0.0.1:1"  # there is no server


def test_face_of_the_module_is_what_it_was():
    functions, classes = sorted((*FUNCTIONS, *OWN_FUNCTIONS)), sorted((*CLASSES, *OWN_CLASSES))
    assert losswire_client.torch.__all__ == [*classes, "TorchArgumentError", *functions, "nn", "set_default_client"]
    assert losswire_client.torch.nn.__all__ == [*CLASSES, "functional"]
    assert losswire_client.torch.nn.functional.__all__ == [*FUNCTIONS]


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_signature_has_few_keywords_more(name):
    ours = inspect.signature(getattr(losswire_client.torch, name)).parameters
    theirs = inspect.signature(getattr(F, name, None) or getattr(nn, name)).parameters
    more: dict[str, float | None] = {"z_loss": 0.0} if name == "cross_entropy" else {}
    more |= {"divisor": None, "client": None} if name in FUNCTIONS else {"client": None}
    assert [(p.name, p.kind, p.default) for p in ours.values()] == [
        *((p.name, p.kind, p.default) for p in theirs.values()),
        *((keyword, inspect.Parameter.KEYWORD_ONLY, default) for keyword, default in more.items()),
    ]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", MODULES)
def test_samples_agree_with_torch(client, name, dtype):
    name, found = name.removeprefix("nn."), samples(name, dtype)
    for sample in found:
        ours = getattr(losswire_client.torch, name)(**sample.options, client=client)(sample.input, sample.target)
        theirs = getattr(nn, name)(**sample.options)(sample.input, sample.target)
        torch.testing.assert_close(ours, theirs, equal_nan=True)


@pytest.mark.parametrize("name", CLASSES)
def test_deprecated_arguments_warn(name):
    for size_average, reduce in itertools.product((None, True, False), (None, True, False)):
        with warnings.catch_warnings(record=True, action="always") as expected:
            theirs = getattr(nn, name)(None, size_average, reduce=reduce)
        with warnings.catch_warnings(record=True, action="always") as caught:
            ours = getattr(losswire_client.torch, name)(None, size_average, reduce=reduce)
        assert ours.reduction == theirs.reduction
        assert [(w.category, str(w.message)) for w in caught] == [(w.category, str(w.message)) for w in expected]


def test_module_has_the_state_of_torchs():
    options: dict[str, Any] = {"weight": torch.rand(4), "pos_weight": torch.rand(4)}
    ours, theirs = losswire_client.torch.BCEWithLogitsLoss(**options), nn.BCEWithLogitsLoss(**options)
    assert isinstance(ours, nn.BCEWithLogitsLoss)
    assert repr(ours) == repr(theirs)
    assert ours.state_dict().keys() == theirs.state_dict().keys() == options.keys()
    ours.load_state_dict(nn.BCEWithLogitsLoss(torch.ones(4), pos_weight=torch.ones(4)).state_dict())
    assert torch.equal(present(ours.to(torch.float64).weight), torch.ones(4, dtype=torch.float64))


def test_copy_of_a_module_shares_its_client(client, other_target):
    set_default_client(Client(other_target))
    module = losswire_client.torch.CrossEntropyLoss(torch.rand(4), client=client)
    copied = copy.deepcopy(nn.Sequential(module))[0]
    assert copied.weight is not module.weight
    assert copied(LOGITS, TARGET) == module(LOGITS, TARGET)


def test_pickled_module_has_its_client(target, other_target):
    module = losswire_client.torch.CrossEntropyLoss(torch.rand(4), client=Client(target))
    set_default_client(Client(other_target))
    loaded = pickle.loads(pickle.dumps(module))
    assert torch.equal(loaded.weight, present(module.weight))
    torch.testing.assert_close(loaded(LOGITS, TARGET), F.cross_entropy(LOGITS, TARGET, loaded.weight.double()))


def test_pickled_module_has_the_default(client, other_target):
    set_default_client(Client(other_target))
    loaded = pickle.loads(pickle.dumps(losswire_client.torch.CrossEntropyLoss()))
    set_default_client(client)
    torch.testing.assert_close(loaded(LOGITS, TARGET), F.cross_entropy(LOGITS, TARGET))


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_misspelt_argument_is_a_type_error(name):
    message = r"got an unexpected keyword argument 'label_smooth'"
    with pytest.raises(TypeError, match=message):
        (getattr(F, name, None) or getattr(nn, name))(LOGITS, TARGET, label_smooth=0.1)
    with pytest.raises(TypeError, match=rf"^{name}(\.__init__)?\(\) {message}"):
        getattr(losswire_client.torch, name)(LOGITS, TARGET, label_smooth=0.1)


def test_own_client_goes_before_the_default(client, other_target):
    set_default_client(Client(other_target))
    assert losswire_client.torch.CrossEntropyLoss(client=client)(LOGITS, TARGET).isfinite()
    assert losswire_client.torch.cross_entropy(LOGITS, TARGET, client=client).isfinite()


def test_default_client_is_made_once(target, other_target, monkeypatch):
    monkeypatch.setenv("LOSSWIRE_TARGET", target)
    first = losswire_client.torch.cross_entropy(LOGITS, TARGET)
    monkeypatch.setenv("LOSSWIRE_TARGET", other_target)
    assert losswire_client.torch.CrossEntropyLoss()(LOGITS, TARGET) == first


def test_only_a_client_is_taken_for_one(target):
    for take in (set_default_client, lambda client: losswire_client.torch.NLLLoss(client=client)):
        with pytest.raises(InvalidArgumentError, match="client: expected a Client or None, got a str"):
            take(target)


def test_rest_of_nn_is_that_of_torch():
    ours = losswire_client.torch.nn
    assert ours.Linear is nn.Linear
    assert ours.functional.relu is F.relu
    assert ours.CrossEntropyLoss is losswire_client.torch.CrossEntropyLoss
    assert ours.functional.cross_entropy is losswire_client.torch.cross_entropy
    assert set(dir(ours)) == set(dir(nn))
    assert set(dir(ours.functional)) == set(dir(F))
    with pytest.raises(AttributeError, match=r"torch.nn.* has no attribute 'CrossEntropy'"):
        _ = ours.CrossEntropy


def test_loss_of_torch_itself_warns():
    """A loss that we do not have comes from PyTorch."""
    for ours, theirs, name in (
        (losswire_client.torch.nn, nn, "LinearCrossEntropyLoss"),
        (losswire_client.torch.nn, nn, "NLLLoss2d"),
        (losswire_client.torch.nn.functional, F, "linear_cross_entropy"),
    ):
        with pytest.warns(UserWarning, match=f"{name} is PyTorch's own.* take it from {theirs.__name__} "):
            assert getattr(ours, name) is getattr(theirs, name)


@pytest.mark.parametrize(("module", "needed"), [("torch", "torch"), ("torchmetrics", "torchmetrics")])
def test_failing_import_names_the_extra(module, needed, monkeypatch):
    monkeypatch.setitem(sys.modules, needed, None)  # for Python the module is missing then
    monkeypatch.delitem(sys.modules, f"losswire_client.{module}", raising=False)
    with pytest.raises(ImportError, match=rf"pip install ./proto './client\[{module}\]'"):
        importlib.import_module(f"losswire_client.{module}")
