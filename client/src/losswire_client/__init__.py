"""The Python SDK of Losswire: the signatures of ``torch.nn.functional``, evaluated by a server.

    >>> import numpy as np
    >>> from losswire_client import Client
    >>> with Client("localhost:50051") as client:
    ...     result = client.cross_entropy(np.float32([[1, 2, 3]]), [2], grad=True)
    >>> float(result.loss), result.grad
    (0.40760594606399536, array([[ 0.09003057,  0.24472848, -0.33475903]], dtype=float32))

Every error of a call or of a constructor is a :class:`LosswireError`::

    LosswireError
    ├── InvalidArgumentError (a ValueError)      an argument is wrong: correct the one it names
    ├── NotServedError                           this server does not serve what the call asks for
    ├── NotFoundError (a LookupError)            there is no run of this name: create it
    │   └── HeadNotFoundError                    the server does not hold this head: register it
    ├── ConflictError                            a key or a run is there already, with other sums or options
    ├── PreconditionError                        a run lacks keys, is finished, or has other options
    ├── DeadlineExceededError (a TimeoutError)   no answer in time: allow more time
    ├── UnavailableError (a ConnectionError)     no server could be reached, or it is leaving: retry
    ├── ResourceExhaustedError                   the request, or what runs or heads take, is too much for the server
    │   └── OverloadedError                      too much is in flight there: retry after `retry_seconds`
    ├── UnauthenticatedError                     the server does not know who is calling
    ├── PermissionDeniedError                    this caller may not have what it asks for
    ├── CallCancelledError                       cancelled by a server in its last moments: retry
    └── InternalError                            a fault of the server: report it

A call that does not fit a signature, for example because a keyword is misspelt, is an InvalidArgumentError that is a
TypeError too. An error that the iterable of a `map` raises keeps its type. A missing extra is an ImportError.
"""

from importlib.metadata import version

from losswire.exact_sum import ExactSum
from losswire.exact_sums import ExactSums
from losswire.sketch import Sketch
from losswire.statistics import MeanChange, Statistics
from losswire_client._async_client import AsyncClient
from losswire_client._capabilities import CallerLimits, Capabilities, HeadLimits, RunLimits
from losswire_client._client import Client
from losswire_client._errors import (
    CallCancelledError,
    ConflictError,
    DeadlineExceededError,
    HeadNotFoundError,
    InternalError,
    InvalidArgumentError,
    LosswireError,
    NotFoundError,
    NotServedError,
    OverloadedError,
    PermissionDeniedError,
    PreconditionError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)
from losswire_client._heads.held import HeldHead
from losswire_client._request.head import Head, Norm
from losswire_client._result import Result
from losswire_client._retry import Retry
from losswire_client._runs.async_run import AsyncRun
from losswire_client._runs.results import RunKey, RunProgress, RunResult, RunTotals
from losswire_client._runs.run import Run
from losswire_client._wires.tls import TLS

__all__ = [
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

__version__ = version("losswire-client")
