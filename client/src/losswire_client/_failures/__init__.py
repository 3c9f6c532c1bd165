"""From failed calls to the errors of the SDK."""
