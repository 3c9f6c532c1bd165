"""Many evaluations with a window of them in flight. Opens into `_wires`."""
