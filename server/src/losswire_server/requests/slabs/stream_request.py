"""A batch that comes in slabs, which are evaluated one by one as they come."""

import torch

import ce_engine
from losswire import v1
from losswire.dtypes import BY_NAME
from losswire.errors import FieldError
from losswire.frames import RESPONSES, SlabFrame
from losswire.losses import RESULT_TENSORS
from losswire.rows import SlabRows
from losswire_server.errors import NotServedError
from losswire_server.requests.decoding import from_bytes
from losswire_server.requests.encoding import dtype_name, elements, fill
from losswire_server.requests.planning import PLANS, by_field
from losswire_server.requests.slabs.row_tensors import ClassWeights, Coming, Narrow
from losswire_server.requests.slabs.stream_header import StreamHeader

# Fields of results, and the engine's names for the results of rows.
RESULTS: dict[str, str] = {
    tensor.field: "losses" if tensor.name == "loss" else tensor.name for tensor in RESULT_TENSORS
}
WIDE = {tensor.field for tensor in RESULT_TENSORS if tensor.wide}


class StreamRequest:
    """Evaluates a batch slab by slab, in row order."""

    def __init__(self, header: StreamHeader) -> None:
        self._header = header
        self._by_rows = dict(header.by_rows)
        self._dtypes: dict[str, torch.dtype] = {}  # of the fields of results
        self._evaluation: ce_engine.SlabBySlab | ce_engine.PlannedSlabBySlab | None = None
        self._next_row = 0
        if header.can_be_planned:
            self._evaluation = ce_engine.PlannedSlabBySlab(header.plan())
            self._by_rows = {}

    @property
    def held_bytes(self) -> int:
        """Memory of elements that came and are still needed."""
        return sum(tensor.held_bytes for tensor in self._by_rows.values())

    @property
    def is_complete(self) -> bool:
        """Whether the input of all rows came."""
        return self._next_row == self._header.layout.row_count

    def accept(self, frame: SlabFrame) -> bytes | None:
        """Takes in a slab, and evaluates its rows if it has their input.

        Returns:
            The message with their results; None if the summary has all that is wanted.

        Raises:
            FieldError: A field is wrong, or the slab is not the next one.
            NotServedError: It has fields that this server does not know.
        """
        if frame.unknown:
            raise NotServedError("slab", f"this server does not know its field number {frame.unknown[0]}")
        slab = self._header.layout.slab_rows(frame.first_row, frame.row_count)
        if not frame.payloads:
            raise FieldError("slab", "expected elements of a tensor, got none")
        for name, data in frame.payloads.items():
            if name != "input":
                self._coming(name).add(data, slab)
        return self._evaluate(slab, frame.payloads["input"]) if "input" in frame.payloads else None

    def summary(self) -> v1.EvaluateResponse:
        """The summary of all rows.

        Raises:
            FieldError: Some rows did not come.
        """
        evaluation, row_count = self._evaluation, self._header.layout.row_count
        if evaluation is None or not self.is_complete:
            raise FieldError("slab.input", f"expected all {row_count} rows, got only the first {self._next_row}")
        summary = v1.EvaluateResponse(
            loss_sum=evaluation.loss_sum,
            weight_sum=evaluation.weight_sum,
            row_count=evaluation.row_count,
            ignored_count=evaluation.ignored_count,
            correct_count=evaluation.correct_count if "predictions" in self._dtypes else None,
        )
        for field, dtype in self._dtypes.items():
            message, layout = getattr(summary, field), self._header.layout
            message.dtype = BY_NAME[dtype_name(dtype)].wire
            message.shape.extend(layout.shape if field in WIDE else layout.row_shape)
        if self._header.options["reduction"] != "none":
            summary.loss.Clear()
            fill(summary.loss, torch.tensor(evaluation.loss(), dtype=self._dtypes["loss"]))
        return summary

    def _coming(self, name: str) -> Coming:
        tensor = self._by_rows.get(name)
        if isinstance(tensor, Coming):
            return tensor
        came = "it is complete" if name in self._header.by_rows else "it has none"
        raise FieldError(f"slab.{name}", f"expected no elements, since the header says that {came}")

    def _evaluate(self, slab: SlabRows, data: memoryview) -> bytes | None:
        if slab.first_row != self._next_row:
            came = f"rows from {slab.first_row} on"
            raise FieldError("slab.first_row", f"expected input from row {self._next_row} on, got {came}")
        if self._evaluation is None:
            self._evaluation = self._begin()
        header = self._header
        x = from_bytes(data, header.dtype, slab.input_shape, "slab.input")
        with by_field(header.request.spec):
            by_rows = {name: tensor.take(slab) for name, tensor in self._by_rows.items()}
            results = self._evaluation.evaluate(x, **by_rows)
        self._next_row = slab.end_row
        return self._reply(slab, results)

    def _begin(self) -> ce_engine.SlabBySlab:
        header = self._header
        options, weight_sum = dict(header.options), float(header.layout.row_count)
        if header.needs_all_targets:
            sums = self._sums()
            weight_sum = sums.weight_sum
            if header.index_targets:
                options["weight"] = sums.class_weight
            elif options.pop("weight") and sums.class_weight is not None:
                self._by_rows["weight"] = ClassWeights(self._by_rows["target"], sums.class_weight)
        return ce_engine.SlabBySlab(PLANS[header.loss], weight_sum=weight_sum, **options)

    def _sums(self) -> ce_engine.TargetSums:
        header, target = self._header, self._all_targets()
        with by_field(header.request.spec):
            if not header.index_targets:
                return ce_engine.TargetSums.of_elements(target, header.options["weight"])
            options = {name: header.options[name] for name in ("weight", "ignore_index") if name in header.options}
            return ce_engine.TargetSums.of_classes(target, header.layout.classes, **options)

    def _all_targets(self) -> torch.Tensor:
        target = self._by_rows["target"]
        if isinstance(target, Coming):
            if not target.complete:
                problem = "expected all targets ahead of the input, since each result depends on all of them"
                raise FieldError("slab.target", problem)
            target = self._by_rows["target"] = Narrow(target.take_all(), self._header.layout)
        if not isinstance(target, Narrow):
            raise TypeError("only targets with one number a row are needed ahead")
        return target.tensor

    def _reply(self, slab: SlabRows, results: ce_engine.RowResults) -> bytes | None:
        tensors = {field: getattr(results, name) for field, name in RESULTS.items()}
        tensors = {field: tensor for field, tensor in tensors.items() if tensor is not None}
        self._dtypes = {field: tensor.dtype for field, tensor in tensors.items()}
        if self._header.options["reduction"] != "none":
            del tensors["loss"]
        if not tensors:
            return None
        payloads = {field: elements(tensor) for field, tensor in tensors.items()}
        return RESPONSES.write(slab.first_row, slab.row_count, payloads)
