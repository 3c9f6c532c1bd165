"""What can be seen of a service: its metrics, and the figures computed from them. Every view reads these tables.

The server makes its metrics from `metrics.py`. The dashboards, the server's own page and ``losswire top`` show figures
of `figures.py`, each in its own way: as PromQL, in JavaScript, in Python.
"""
