"""The broker credentials of Faust's consumer and producer: the same as every other client's."""

from __future__ import annotations

import faust

from streams.kafka.connection import ssl_context
from streams.settings import Settings


def credentials(settings: Settings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """Return Faust's credentials for these settings; None without encryption and login."""
    if settings.sasl:
        return faust.SASLCredentials(
            mechanism=settings.sasl_mechanism,
            username=settings.sasl_username,
            password=settings.sasl_password.reveal(),
            ssl_context=ssl_context(settings) if settings.tls else None,
        )
    return faust.SSLCredentials(ssl_context(settings)) if settings.tls else None
