"""Where the binary losses are clamped, on every device, so that no loss or gradient is infinite."""

LEAST_LOG = -100.0  # as in torch.nn.BCELoss
LEAST_VARIANCE = 9.999999960041972e-13  # as in its backward: 1e-12 in float32, for float64 too
