"""Why a server cannot be reached, in words that name the argument to look at. gRPC tells it in those of its parts."""

CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"
REASONS = (  # the first whose texts are all in gRPC's
    (
        (CERTIFICATE, "expired"),
        "the server's certificate has expired",
    ),
    (
        (CERTIFICATE, "not yet valid"),
        "the server's certificate is not valid yet",
    ),
    (
        (CERTIFICATE,),
        "the server's certificate is not of an authority that this client trusts: see tls.ca",
    ),
    (
        ("Hostname Verification Check failed",),
        "the server's certificate is for another name than that of the target: see tls.server_name",
    ),
    (
        ("WRONG_VERSION_NUMBER",),
        "the server does not encrypt, and the client's tls is on",
    ),
    (
        ("failed to connect to all addresses", "Socket closed"),
        "the server ended the connection at once, as if it wanted tls, or a certificate of the client's (tls.cert)",
    ),
)


def reason(text: str) -> str:
    """The reason with gRPC's text, or that alone."""
    for parts, told in REASONS:
        if all(part in text for part in parts):
            return f"{told} ({text})"
    return text
