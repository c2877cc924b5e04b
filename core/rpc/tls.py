"""TLS between our processes, both sides with certificates, which are read again when they change.

A folder has `tls.crt` (this process's certificate, and those between it and the authority's),
`tls.key` and `ca.crt`, as Kubernetes mounts them. Whoever replaces them need not restart anything:
handshakes after that use the new ones.
"""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import grpc

from core.settings import SettingsError

LOG = logging.getLogger(__name__)
CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"
LOOK_SECONDS = 5.0

# For channels to our processes. By default grpc never asks whether a connection still works.
CHANNEL_OPTIONS = [
    # As often as our servers allow; after the timeout the channel connects anew.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Of the two the one that counts: by default a minute, whatever the keepalive's is.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # By default grpc leaves a service that was away for a while alone for two minutes, and waits
    # for 20 s for one that accepts the connection and says nothing.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


@dataclass(frozen=True)
class Files:
    """What the folder holds, in PEM."""

    certificate: bytes
    key: bytes
    authority: bytes

    @property
    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials for calling our other processes."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)


class Certificates:
    """The certificates of this process, as they are now."""

    def __init__(self, folder: Path) -> None:
        """Read them; raises SettingsError when they are not there or do not fit each other."""
        self._folder = folder
        self._looked = time.monotonic()
        try:
            self._context()
            self._files = self._read()
        except OSError as error:  # ssl.SSLError is one
            raise SettingsError(
                f"FANFARE_TLS_DIR is {folder}, whose {CERTIFICATE}, {KEY} and {AUTHORITY} cannot "
                f"be used: {error.strerror or error}."
            ) from error

    def files(self) -> Files:
        """Return what is in the folder; the same object while nothing has changed.

        Of files that are being replaced, and do not fit each other, the ones before.
        """
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            try:
                found = self._read()
                if found != self._files:
                    self._context()
                    self._files = found
            except OSError as error:
                # Seen again and again while it lasts: the certificates in use will expire.
                LOG.warning(
                    "what is in %s cannot be used, those of before are: %s",
                    self._folder,
                    error.strerror or error,
                )
        return self._files

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials of a server that asks clients for a certificate of the authority."""
        used: list[Files] = [self.files()]

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            files = self.files()
            if files is used[0]:
                return None
            used[0] = files
            return _configuration(files)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(used[0]),
            fetch,  # type: ignore[arg-type]  # None, for no change, is missing in the stubs
            require_client_authentication=True,
        )

    def http_context(self) -> ssl.SSLContext:
        """Return the context of an HTTPS server, which asks its clients for nothing."""
        first = self._context()
        used = [(self.files(), first)]

        def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            files = self.files()
            if files is not used[0][0]:
                used[0] = (files, self._context())
            connection.context = used[0][1]

        # Called in every handshake, also in one that names no server.
        first.sni_callback = choose
        return first

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._folder / CERTIFICATE, self._folder / KEY)
        # No client is asked for its certificate here; this only shows whether it can be used.
        context.load_verify_locations(self._folder / AUTHORITY)
        return context

    def _read(self) -> Files:
        return Files(
            (self._folder / CERTIFICATE).read_bytes(),
            (self._folder / KEY).read_bytes(),
            (self._folder / AUTHORITY).read_bytes(),
        )


def certificates(folder: Path | None) -> Certificates | None:
    """Return those of the folder, None where there is none; raises SettingsError."""
    return None if folder is None else Certificates(folder)


def client_context(folder: Path | None) -> ssl.SSLContext | None:
    """Return the context of an HTTPS client that knows our authority, None where TLS is off."""
    return None if folder is None else ssl.create_default_context(cafile=folder / AUTHORITY)


def open_channel(target: str, folder: Path | None) -> grpc.Channel:
    """Return a channel to one of our processes, by TLS where there is a folder of certificates."""
    if folder is None:
        return grpc.insecure_channel(target, CHANNEL_OPTIONS)
    credentials = Certificates(folder).files().channel_credentials
    return grpc.secure_channel(target, credentials, CHANNEL_OPTIONS)


def _configuration(files: Files) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(files.key, files.certificate)], root_certificates=files.authority
    )
