"""What Faust's own consumer and producer say to the broker about who they are: the same as every other client."""

from __future__ import annotations

import faust

from streams.kafka.connection import tls
from streams.settings import Settings


def credentials(settings: Settings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """Return Faust's credentials for these settings; None where nothing is encrypted and nobody asked for."""
    if settings.sasl:
        return faust.SASLCredentials(
            mechanism=settings.sasl_mechanism,
            username=settings.sasl_username,
            password=settings.sasl_password.reveal(),
            ssl_context=tls(settings) if settings.tls else None,
        )
    return faust.SSLCredentials(tls(settings)) if settings.tls else None
