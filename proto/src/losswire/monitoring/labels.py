"""The values of labels that form closed sets."""

CODES = (
    *("OK", "Cancelled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists"),
    *("PermissionDenied", "Unauthenticated", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange"),
    *("Unimplemented", "Internal", "Unavailable", "DataLoss"),
)  # as Go spells them, which is what dashboards match
ERROR_CODES = ("DataLoss", "DeadlineExceeded", "Internal", "Unavailable", "Unimplemented", "Unknown")  # OpenTelemetry's
STAGES = ("admission", "receive", "queue", "stage_in", "compute", "commit", "reply")
RUN_OUTCOMES = ("counted", "repeat", "conflict", "refused")
HEAD_OUTCOMES = ("registered", "known", "quota", "mismatch")
TRANSPORTS = ("unary", "pack", "stream", "shared_memory")
