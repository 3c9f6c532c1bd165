"""Metrics, one file a family, and how Prometheus gets them. May import no other room."""
