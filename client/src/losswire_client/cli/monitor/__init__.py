"""Watches a server by its Prometheus metrics of the last few seconds."""

from losswire_client.cli.monitor._evaluate import evaluate
from losswire_client.cli.monitor._frame import Frame
from losswire_client.cli.monitor._interval import Interval
from losswire_client.cli.monitor._scrape import MetricsError, fetch, parse
from losswire_client.cli.monitor._trends import Trends
from losswire_client.cli.monitor._view import view
from losswire_client.cli.monitor._watch import watch

__all__ = ["Frame", "Interval", "MetricsError", "Trends", "evaluate", "fetch", "parse", "view", "watch"]
