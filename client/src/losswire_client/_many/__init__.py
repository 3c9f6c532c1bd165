"""Many evaluations with a window of them in flight. Imports `_wires`."""
