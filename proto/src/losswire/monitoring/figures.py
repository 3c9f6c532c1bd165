"""The table of figures: what dashboards, the server's own page and ``losswire top`` show, and how it is computed."""

from collections.abc import Mapping

from losswire.monitoring.figure import Figure
from losswire.monitoring.loss_figures import LOSSES
from losswire.monitoring.resource_figures import BATCHING, GPU, HEADS, SATURATION, SECURITY
from losswire.monitoring.run_figures import RUNS
from losswire.monitoring.service_figures import ERRORS, LATENCY, SERVERS, STAGES, TRAFFIC

SECTIONS: Mapping[str, tuple[Figure, ...]] = {
    "Servers": SERVERS,
    "Traffic": TRAFFIC,
    "Errors": ERRORS,
    "Saturation": SATURATION,
    "Latency": LATENCY,
    "Where the time goes": STAGES,
    "Batching": BATCHING,
    "Heads": HEADS,
    "GPU": GPU,
    "Security": SECURITY,
    "Losses": LOSSES,
    "Runs": RUNS,
}
FIGURES: Mapping[str, Figure] = {figure.key: figure for section in SECTIONS.values() for figure in section}
