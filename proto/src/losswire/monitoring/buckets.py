"""The upper bounds of histograms, without infinity."""

_ONE_TO_SIXTY = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
SECONDS = (0.00005, 0.0001, 0.0002, 0.0005, *_ONE_TO_SIXTY)
SHARE_SECONDS = (0.00001, 0.00002, *SECONDS)  # for requests that were evaluated together: each gets a share of the time
COUNTS = tuple(4.0**power for power in range(11))  # up to a million
PACK_COUNTS = tuple(2.0**power for power in range(9))  # up to 256, the most in a message
COMMIT_COUNTS = COUNTS[:6]  # up to 1024, the most of a transaction
# Losses of rows. Bounds are sums of few powers of two, so that they are the same in every dtype.
ROW_LOSSES = (
    *(-64.0, -16.0, -4.0, -1.0, -0.25, 0.0, 2.0**-10, 2.0**-8, 2.0**-6, 0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5),
    *(0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0, 128.0),
)
