"""Where the server listens."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import CliImplicitFlag

from losswire_server.settings.types import Group, Whole


class Addresses(Group):
    """Where the server listens."""

    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on; 0.0.0.0 or :: for all interfaces. Beyond loopback callers need TLS and a token."""

    port: Whole = Field(50051, ge=0, le=65535)
    """Port of the gRPC service; 0 takes a free one."""

    metrics: CliImplicitFlag[bool] = True
    """Whether to listen for Prometheus, and for health checks over HTTP."""

    metrics_host: str = Field("127.0.0.1", min_length=1)
    """Address of the Prometheus endpoint. It has no encryption, so it must not be a public one."""

    metrics_port: Whole = Field(9464, ge=0, le=65535)
    """Port of the Prometheus endpoint; 0 takes a free one."""

    @model_validator(mode="after")
    def _ports_must_differ(self) -> Self:
        if self.port and (self.host, self.port) == (self.metrics_host, self.metrics_port):
            raise ValueError(f"metrics_port must differ from port: got {self.port} for both")
        return self
