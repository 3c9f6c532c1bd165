"""From a caller's arguments to an evaluation. Opens into no other room."""
