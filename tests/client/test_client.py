import itertools
import math
import threading
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import losswire_client
from losswire import v1
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client import (
    Client,
    DeadlineExceededError,
    InvalidArgumentError,
    LosswireError,
    ResourceExhaustedError,
    UnavailableError,
)
from tests.helpers import serving

LOGITS = np.array([[0.3321, 0.5043, -1.1833], [-2.1702, -1.8563, 1.0706], [1.7341, 0.2554, -1.3358]], np.float32)
TARGET = np.array([1, 2, 0])


def test_face_of_the_package_is_what_it_was():
    assert losswire_client.__all__ == [
        "TLS",
        "AsyncClient",
        "AsyncRun",
        "CallCancelledError",
        "CallerLimits",
        "Capabilities",
        "Client",
        "ConflictError",
        "DeadlineExceededError",
        "ExactSum",
        "ExactSums",
        "Head",
        "HeadLimits",
        "HeadNotFoundError",
        "HeldHead",
        "InternalError",
        "InvalidArgumentError",
        "LosswireError",
        "MeanChange",
        "Norm",
        "NotFoundError",
        "NotServedError",
        "OverloadedError",
        "PermissionDeniedError",
        "PreconditionError",
        "ResourceExhaustedError",
        "Result",
        "Retry",
        "Run",
        "RunKey",
        "RunLimits",
        "RunProgress",
        "RunResult",
        "RunTotals",
        "Sketch",
        "Statistics",
        "UnauthenticatedError",
        "UnavailableError",
        "__version__",
    ]


def test_batch_of_three_has_known_numbers(client):
    result = client.cross_entropy(LOGITS, TARGET, grad=True)
    assert round(float(result.loss), 4) == 0.3458
    softmax = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    np.testing.assert_allclose(result.grad, (softmax - np.eye(3)[TARGET]) / 3, atol=1e-7)
    assert (result.weight_sum, result.row_count, result.ignored_count) == (3, 3, 0)
    assert result.loss_sum == pytest.approx(3 * 0.3458, abs=2e-4)


@pytest.mark.parametrize(("weight", "loss"), [(None, 1.7955), ([1.0, 9.0], 1.1617)])
def test_k_dimensional_loss_is_known(client, weight, loss):
    input = np.array([[[1, 2], [3, 5]], [[4, 7], [4, 6]]], np.float32)
    assert round(float(client.cross_entropy(input, [[0, 0], [1, 1]], weight).loss), 4) == loss


def test_single_row_has_the_known_loss(client):
    assert round(float(client.cross_entropy([1.0, 2.0, 3.0], 2).loss), 4) == 0.4076


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 5, 3, 4), (0, 5)])
def test_every_option_gives_what_torch_gives(client, shape, reduction):
    torch.manual_seed(0)
    logits = torch.randn(shape, dtype=torch.float64)
    target = torch.randint(5, shape[:1] + shape[2:] if len(shape) > 1 else ())
    for weight, ignore_index, smoothing in itertools.product((None, torch.rand(5).double()), (-100, 2), (0.0, 0.2)):
        options = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": smoothing}
        leaf = logits.clone().requires_grad_()
        expected = F.cross_entropy(leaf, target, weight, **options)
        incoming = torch.rand_like(expected)
        (expected_grad,) = torch.autograd.grad(expected, leaf, incoming)
        result = client.cross_entropy(
            logits.numpy(),
            target.numpy(),
            None if weight is None else weight.numpy(),
            **options,
            grad=True,
            grad_output=incoming.numpy(),
        )
        np.testing.assert_allclose(result.loss, expected.detach(), rtol=1e-12)
        np.testing.assert_allclose(result.grad, expected_grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_gradient_has_the_inputs_dtype(client, dtype):
    result = client.cross_entropy(LOGITS.astype(dtype), TARGET, grad=True, reduction="none")
    assert result.grad.dtype == dtype
    assert result.loss.dtype == (np.float64 if dtype is np.float64 else np.float32)
    result.grad[:] = 0


@pytest.mark.parametrize(
    "dtype", [np.int64, np.int32, np.int16, np.int8, np.uint8, np.uint16, np.uint32, np.uint64, ">i4"]
)
def test_target_takes_any_integer_dtype(client, dtype):
    assert client.cross_entropy(LOGITS, TARGET.astype(dtype)).loss == client.cross_entropy(LOGITS, TARGET).loss


def test_lists_of_whole_numbers_are_floats(client):
    assert client.cross_entropy([[1, 2, 3]], [2], [1, 2, 3], grad=True, grad_output=2).loss.dtype == np.float64
    assert client.cross_entropy(np.zeros((0, 3)), []).row_count == 0


def test_gradient_is_absent_unless_asked_for(client):
    assert client.cross_entropy(LOGITS, TARGET).grad is None


def test_empty_mean_is_nan_or_zero(client):
    assert math.isnan(client.cross_entropy(LOGITS, [-100] * 3).loss)
    assert client.cross_entropy(LOGITS, [-100] * 3, empty="zero").loss == 0


def test_series_names_the_sums_in_the_metrics(client, server):
    result = client.cross_entropy(LOGITS, TARGET, series="test/series")
    labels = {"series": "test/series", "loss": "cross_entropy"}
    assert server.registry.get_sample_value("losswire_loss_sum_total", labels) == result.loss_sum
    assert server.registry.get_sample_value("losswire_weight_sum_total", labels) == 3


def test_capabilities_use_the_sdks_names(client):
    told = client.capabilities()
    assert told.version == losswire_client.__version__
    assert told.torch_version == torch.__version__
    assert (told.device, told.transports) == ("cpu", ("unary", "stream", "shared_memory"))
    batching = (told.max_batch_rows, told.max_batch_bytes, told.max_queue_delay_us, told.max_queue_rows)
    assert batching == (65536, 2**18, 0, 2**27)
    assert told.engine_workers >= 1
    assert told.losses == (
        "cross_entropy",
        "nll_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "linear_cross_entropy",
        "kl_divergence",
    )
    of_rows = ("predictions", "entropy", "target_log_probabilities", "target_ranks")
    assert told.outputs == ("lse", "probabilities", "log_probabilities", *of_rows)
    assert told.input_dtypes == ("float64", "float32", "float16", "bfloat16")
    assert (told.max_message_bytes, told.slab_bytes) == (64 * 2**20, 2**20)


def test_capabilities_tell_all_limits(client, target):
    told = client.capabilities()
    with grpc.insecure_channel(target) as channel:
        served = LossServiceStub(channel).GetCapabilities(v1.GetCapabilitiesRequest())
    pairs = ((told, served.limits), (told, served.batching), (told.caller_limits, served.caller_limits))
    for known, message in pairs:
        for field in message.DESCRIPTOR.fields:
            assert getattr(known, field.name) == getattr(message, field.name)
    assert told.max_connection_resets == 500
    assert told.caller_limits.max_streams == 32


def test_threads_may_share_a_client(client):
    def evaluate(row: int) -> None:
        for _ in range(20):
            losses[row].add(float(client.cross_entropy(LOGITS[row], TARGET[row]).loss))

    losses: list[set[float]] = [set(), set(), set()]
    threads = [threading.Thread(target=evaluate, args=(row,)) for row in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = F.cross_entropy(torch.from_numpy(LOGITS), torch.from_numpy(TARGET), reduction="none")
    assert [len(seen) for seen in losses] == [1, 1, 1]
    np.testing.assert_allclose([seen.pop() for seen in losses], expected, rtol=1e-6, atol=2e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": LOGITS.astype(np.int64)}, "input: expected one of the dtypes float64, .*, got int64"),
        ({"input": LOGITS.astype(np.complex64)}, "input: expected one of the dtypes float64, .*, got complex64"),
        ({"target": TARGET[:2]}, r"target: expected shape \(3,\), .*, got \(2,\)"),
        ({"target": [0, 1, 3]}, r"target: expected classes in \[0, 3\) .*, got 3 at row 2"),
        (
            {"target": np.array([0, 1, 2**63], np.uint64)},
            "target: expected classes that fit int64, got 9223372036854775808",
        ),
        ({"weight": [1.0, 2.0]}, r"weight: expected shape \(3,\), .*, got \(2,\)"),
        ({"reduction": "avg"}, "reduction: expected one of 'none', 'mean', 'sum', got 'avg'"),
        ({"empty": "one"}, "empty: expected one of 'nan', 'zero', got 'one'"),
        ({"label_smoothing": 2.0}, r"label_smoothing: expected a number in \[0, 1\], got 2.0"),
        ({"grad": True, "grad_output": [1.0]}, r"grad_output: expected the loss's shape \(\), got \(1,\)"),
        ({"grad_output": 1.0}, "grad_output: expected grad=True with it, got grad=False"),
        ({"series": "a b"}, "series: expected up to 64 letters, .*, got 'a b'"),
        ({"series": 7}, "series: expected text, got 7"),
        ({"input": [[1.0], [2.0, 3.0]]}, "input: expected an array, got a list: .*inhomogeneous"),
        ({"input": torch.zeros(2, 3, requires_grad=True)}, "input: expected an array, got a Tensor: .*requires grad"),
        ({"input": None}, "input: expected one of the dtypes .*, got object"),
        ({"target": [0, 1, "2"]}, "target: expected class indices of an integer dtype, got <U"),
        ({"weight": "even"}, "weight: expected one of 'balanced', 'complement', got 'even'"),
        ({"weight": np.array(["balanced"])}, "weight: expected one of the dtypes .*, got <U8"),
        ({"outputs": "lse"}, r"outputs: expected a collection of names, as in \('lse',\), got 'lse'"),
        (
            {"outputs": iter(["lse"])},
            r"outputs: expected a collection of names, as in \('predictions',\), got <list_iter",
        ),
        ({"outputs": None}, "outputs: expected a collection of names, .*, got None"),
        ({"outputs": ["logits"]}, "outputs: expected one of 'lse', .*, got 'logits'"),
        ({"sample_weight": [1.0]}, r"sample_weight: expected the loss's shape \(3,\), got \(1,\)"),
        ({"ignore_index": 1.5}, "ignore_index: expected an integer of 64 bits, got 1.5"),
        ({"ignore_index": 2**63}, "ignore_index: expected an integer of 64 bits, got 9223372036854775808"),
        ({"label_smoothing": "0.1"}, "label_smoothing: expected a number of 64 bits, got '0.1'"),
        ({"reduction": ["mean"]}, r"reduction: expected one of .*, got \['mean'\]"),
        ({"timeout": "1"}, "timeout: expected a number of seconds in .*, got '1'"),
        ({"series": "\ud800"}, "series: expected text, got '.ud800'"),
        ({"ignore_index": None}, "ignore_index: expected an integer of 64 bits, got None"),
        ({"label_smoothing": 10**400}, "label_smoothing: expected a number of 64 bits, got 1000"),
        ({"grad": np.array([True, False])}, "grad: expected one of False, True, got ndarray"),
        ({"grad": 1}, "grad: expected one of False, True, got 1"),
        ({"timeout": float("inf")}, "timeout: expected a number of seconds in .*, got inf"),
        ({"timeout": 0}, "timeout: expected a number of seconds in .*, got 0"),
        ({"timeout": float("nan")}, "timeout: expected a number of seconds in .*, got nan"),
    ],
)
def test_wrong_argument_is_refused_by_its_name(client, arguments, message):
    with pytest.raises(InvalidArgumentError, match=message) as raised:
        client.cross_entropy(**{"input": LOGITS, "target": TARGET, **arguments})
    assert isinstance(raised.value, ValueError)
    assert message.startswith(raised.value.argument)
    assert raised.value.argument


def test_no_server_is_unavailable():
    with (
        Client("127.0.0.1:1", retry=None) as client,
        pytest.raises(UnavailableError, match=r"no server .* at 127\.0\.0\.1:1") as raised,
    ):
        client.capabilities()
    assert isinstance(raised.value, ConnectionError)


def test_call_deadline_overrides_the_clients(silent_target):
    with Client(silent_target, timeout=0.2) as client:
        with pytest.raises(
            DeadlineExceededError, match=rf"no answer from {silent_target} within 0.2 seconds"
        ) as raised:
            client.capabilities()
        with pytest.raises(DeadlineExceededError, match=r"within 0\.1 seconds"):
            client.cross_entropy(LOGITS, TARGET, timeout=0.1)
    assert isinstance(raised.value, TimeoutError)


def test_deadline_is_always_set(silent_target):
    with Client(silent_target) as client:
        assert client._timeout == 60


def test_request_beyond_the_limit_says_so():
    with serving(max_message_bytes=4096) as server, Client(f"127.0.0.1:{server.port}") as client:
        with pytest.raises(ResourceExhaustedError, match=r"larger than max"):
            client.cross_entropy(np.zeros((100, 100), np.float32), np.zeros(100, np.int64))
        assert client.capabilities().max_message_bytes == 4096


def test_too_large_message_is_never_sent(target, monkeypatch):
    monkeypatch.setattr("losswire_client._transports.unary.MAX_BATCH_BYTES", 100)  # in place of 2 GiB
    with pytest.raises(
        ResourceExhaustedError, match=r"input and target have 880 bytes, but a message holds at most 100"
    ):
        Client(target, transport="unary").cross_entropy(np.zeros((10, 10)), [0] * 10)


def test_answer_above_grpcs_limit_comes_back(client):
    logits = np.zeros((300, 5000), np.float32)  # 6 MB; the default is 4
    assert client.cross_entropy(logits, np.zeros(300, np.int64), grad=True).grad.shape == (300, 5000)


@pytest.mark.parametrize("call", ["ping", "capabilities", "cross_entropy", "map", "empty"])
@pytest.mark.parametrize("options", [{}, {"coalesce": True}, {"transport": "shared_memory"}], ids=str)
def test_closed_client_refuses_every_call(target, call, options):
    client = Client(target, **options)
    client.ping()
    client.close()
    every: dict[str, tuple[Any, ...]] = {"cross_entropy": (LOGITS, TARGET), "map": ([(LOGITS, TARGET)],), "empty": (3,)}
    arguments = every.get(call, ())
    with pytest.raises(LosswireError, match="this client is closed"):
        list([getattr(client, call)(*arguments)] if call != "map" else client.map(*arguments))


def test_closed_client_says_so(target):
    client = Client(target)
    client.close()
    with pytest.raises(LosswireError, match="closed"):
        client.capabilities()
