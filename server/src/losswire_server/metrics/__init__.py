"""Metrics, one file a family, and how Prometheus gets them. Opens into no other room."""
