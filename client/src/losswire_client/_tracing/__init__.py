"""Traces of calls, for programs that use OpenTelemetry. Imports no other room."""
