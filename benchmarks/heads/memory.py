"""The most memory that a server takes for a call with many hidden states, beside one tile of logits."""

from dataclasses import replace
from pathlib import Path

from benchmarks.batch import as_array
from benchmarks.heads.case import Case
from benchmarks.heads.server import serving
from ce_engine._heads.logits import tile_rows
from losswire_client import Client, Head

KIB = 1024
MB = 1e6


def memory_line(case: Case) -> str:
    """What a server grew by, at most, during its first call with a head."""
    states, target, head = as_array(case.states()), case.target().numpy(), Head(as_array(case.weight()))
    with serving() as server, Client(server.target, transport="stream") as client:
        client.register_head(head)
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # sets the peak to what there is
        before = _bytes(server.pid, "VmRSS")
        client.linear_cross_entropy(states, head.digest, target, grad=case.grad)
        grown = _bytes(server.pid, "VmHWM") - before
    logits, engine_head = 4 * case.rows * case.classes, replace(case, rows=1).head()
    tile = 4 * tile_rows(engine_head) * case.classes
    return (
        f"{case}: the server grew by at most {grown / MB:.1f} MB, with tiles of {tile / MB:.1f} MB, hidden states "
        f"{states.nbytes / MB:.0f} MB, their gradient likewise, and all logits {logits / MB:.0f} MB"
    )


def _bytes(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(KIB * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
