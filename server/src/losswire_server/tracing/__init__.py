"""Traces by OpenTelemetry, which is imported only if the settings ask for them. May import settings alone."""
