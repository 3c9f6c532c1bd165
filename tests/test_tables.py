"""The tables, both sides, the documents and the tests' own matrix have everything that the contract has."""

import inspect
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from torch.nn import functional as F

import ce_engine
import losswire_client.torch
from ce_engine import reference
from losswire import v1
from losswire.dtypes import ELEMENT_TYPES
from losswire.fields import FIELDS, field_of
from losswire.forms import RULES
from losswire.forms.numbers import LEAST, MARGIN, MOST, problem_of, problem_of_share
from losswire.losses import LOSSES, OUTPUTS, REDUCTIONS, RESULT_NUMBERS, RESULT_TENSORS, WEIGHTINGS
from losswire_client import Client, Result
from losswire_client._request.suspicions import SUSPICIONS
from losswire_client.cli.evaluation._plan import Loss
from losswire_client.cli.load._batches import INPUTS
from losswire_server.requests.planning import PLANS
from tests.client.request.any_calls import ARGUMENTS
from tests.client.request.wrong_calls import RIGHT, WRONG_FORMS, WRONG_NUMBERS

ROOT = Path(__file__).parents[1]
COMMANDS = (*Loss, "kl_divergence")  # what losswire eval and losswire compare evaluate
SPEC = v1.LossSpec.DESCRIPTOR
RUN = (v1.ExactSpec.DESCRIPTOR, v1.RunKey.DESCRIPTOR)
KINDS = SPEC.oneofs_by_name["loss"].fields
OPTIONS = [(kind.name, option.name) for kind in KINDS for option in (kind.message_type or SPEC).fields]


def numbers(enum: EnumDescriptor) -> set[int]:
    """All numbers of an enum except the unspecified one."""
    return {value.number for value in enum.values if value.number}


def tensors(fields: Sequence[FieldDescriptor]) -> list[str]:
    return [field.name for field in fields if field.message_type is v1.Tensor.DESCRIPTOR]


@pytest.mark.parametrize(
    ("table", "enum"),
    [
        ([kind.wire for kind in LOSSES.values()], v1.Loss.DESCRIPTOR),
        (list(REDUCTIONS.values()), v1.Reduction.DESCRIPTOR),
        (list(WEIGHTINGS.values()), v1.ClassWeighting.DESCRIPTOR),
        (list(OUTPUTS.values()), v1.Output.DESCRIPTOR),
        ([element.wire for element in ELEMENT_TYPES], v1.Dtype.DESCRIPTOR),
    ],
    ids=["losses", "reductions", "weightings", "outputs", "dtypes"],
)
def test_table_has_each_number_once(table, enum):
    assert sorted(table) == sorted(numbers(enum))


def test_engine_has_the_contracts_bounds_of_numbers():
    x = torch.zeros(1, 2)
    for number in (LEAST, MOST):
        ce_engine.kl_divergence(x, x, temperature=number)
    for share in (MARGIN, 1 - MARGIN):
        ce_engine.kl_divergence(x, x, divergence="jensen_shannon", beta=share)
    for number in (math.nextafter(LEAST, 0), math.nextafter(MOST, math.inf)):
        with pytest.raises(ce_engine.InvalidArgumentError, match=re.escape(problem_of(number))):
            ce_engine.kl_divergence(x, x, temperature=number)
    for share in (math.nextafter(MARGIN, 0), math.nextafter(1 - MARGIN, 1)):
        with pytest.raises(ce_engine.InvalidArgumentError, match=re.escape(problem_of_share(share))):
            ce_engine.kl_divergence(x, x, divergence="jensen_shannon", beta=share)


@pytest.mark.parametrize("loss", [kind.name for kind in KINDS])
def test_loss_is_known_everywhere(loss):
    assert v1.Loss.Name(LOSSES[loss].wire) == f"LOSS_{loss.upper()}"
    for table in (PLANS, SUSPICIONS, INPUTS, RIGHT, WRONG_FORMS, WRONG_NUMBERS, COMMANDS):
        assert loss in table
    of_torch = [F] if loss != "kl_divergence" else []  # whose `kl_div` takes log-probabilities
    for face in (ce_engine, ce_engine.slabs, reference, Client, losswire_client.torch, *of_torch):
        assert callable(getattr(face, loss))
    assert (loss in ce_engine._kernel_rows.ELEMENTWISE) == LOSSES[loss].elementwise
    for document in ("README.md", "docs/numerics.md", "docs/sdk.md"):
        assert re.search(rf"\b{loss}\b", (ROOT / document).read_text()), document


@pytest.mark.parametrize(("loss", "option"), OPTIONS)
def test_option_is_known_everywhere(loss, option):
    assert option in LOSSES[loss].options
    assert option in RULES
    argument = "weight" if option == "weighting" else option  # `weight` takes the name of a weighting too
    for face in (ce_engine, ce_engine.slabs, Client, losswire_client.torch):
        assert argument in inspect.signature(getattr(face, loss)).parameters, face
    assert argument in ARGUMENTS
    assert any(argument in call for call in WRONG_FORMS[loss].values()) or argument == "ignore_index"


@pytest.mark.parametrize("message", [v1.EvaluateResponse, v1.ResultSlab])
def test_tensors_of_answers_are_in_the_table(message):
    fields = message.DESCRIPTOR.fields
    if message is v1.EvaluateResponse:
        found = tensors(fields)
        exact = {"exact", "exact_by_class", "was_counted"}
        assert {field.name for field in fields} == {*found, *RESULT_NUMBERS, *exact}
    else:
        found = [field.name for field in fields if field.type == field.TYPE_BYTES and field.name != "padding"]
        assert found == [tensor.field for tensor in RESULT_TENSORS]  # which are sent in the order of their numbers
    assert sorted(found) == sorted(tensor.field for tensor in RESULT_TENSORS)


def test_results_have_what_the_table_has():
    names = {*RESULT_NUMBERS, *(tensor.name for tensor in RESULT_TENSORS)}
    names |= {"exact", "exact_by_class"}
    assert names | {"was_counted"} == set(Result.__annotations__)
    assert names | {"tally", "changes"} == set(ce_engine.LossResult.__annotations__)  # which only metrics and runs need
    assert set(OUTPUTS) <= names


def test_fields_of_requests_are_of_arguments():
    own = {
        "spec",
        "outputs",
        "run_key",
        "exact.by_class",
        "outputs.gradient.destination",
        *(f"spec.{kind.name}" for kind in KINDS),
    }
    assert set(paths(v1.EvaluateRequest.DESCRIPTOR.fields, "")) - own == set(FIELDS.values())


def paths(fields: Sequence[FieldDescriptor], prefix: str) -> list[str]:
    found = []
    for field in fields:
        found.append(prefix + field.name)
        if field.message_type in (SPEC, v1.OutputSpec.DESCRIPTOR, v1.GradientSpec.DESCRIPTOR, *RUN):
            found += paths(field.message_type.fields, f"{prefix}{field.name}.")
    return found


@pytest.mark.parametrize(("loss", "option"), OPTIONS)
def test_own_option_has_a_path(loss, option):
    spec = v1.LossSpec()
    getattr(spec, loss).SetInParent()
    assert field_of(option, spec) == f"spec.{loss}.{option}"
