"""Mutual TLS between Fanfare's processes, and the certificates for HTTPS.

FANFARE_TLS_DIR is a folder with `tls.crt` (the process's certificate, followed by any intermediate
certificates), `tls.key` (its private key) and `ca.crt` (the authority's certificate), as in a
Kubernetes secret. Files that change are read again, and apply to later handshakes.
"""

from __future__ import annotations

import logging
import ssl
import time
import urllib.request
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

import grpc
from cryptography.x509 import load_pem_x509_certificate

from core.runtime.key_files import ExposedKeyError, refuse_exposed_key
from core.settings import SettingsError

LOG = logging.getLogger(__name__)
CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"
LOOK_SECONDS = 5.0

# For channels to Fanfare's processes. By default grpc never checks whether a connection is alive.
CHANNEL_OPTIONS = [
    # By default grpc sends calls through the proxy that https_proxy, http_proxy or grpc_proxy name.
    ("grpc.enable_http_proxy", 0),
    # The servers allow a ping every 5 s. If one is not answered in time, the channel reconnects.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # This timeout takes effect. By default it is a minute, whatever the one above is.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # By default grpc waits up to two minutes before it tries to connect again, and 20 s for a
    # service that accepts the connection but does not answer.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


@dataclass(frozen=True)
class Files:
    """The contents of the three files, in PEM."""

    certificate: bytes
    key: bytes
    authority: bytes

    @property
    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials for calling Fanfare's other processes."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)


class Certificates:
    """The current certificates of this process."""

    def __init__(self, folder: Path) -> None:
        """Read the files.

        Raises:
            SettingsError: one is missing, they do not match, or others may read the key.
        """
        self._folder = folder
        self._looked = time.monotonic()
        try:
            self._context()
            self._files = self._read()
        except OSError as error:  # ssl.SSLError is one
            reason = error.strerror or str(error)
            if not isinstance(error, ExposedKeyError):  # which says itself what to do
                reason += (
                    "; put a certificate, its key, and the certificate of its authority there, or "
                    "change FANFARE_TLS_DIR"
                )
            raise SettingsError(
                f"cannot load {CERTIFICATE}, {KEY} and {AUTHORITY} from FANFARE_TLS_DIR={folder}: "
                f"{reason}"
            ) from error

    def files(self) -> Files:
        """Return the contents of the files: the same object until they change.

        While the files are being replaced and do not match, the previous contents are returned.
        """
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            try:
                found = self._read()
                if found != self._files:
                    self._context()
                    self._files = found
            except OSError as error:
                # Log this at every check, because the certificates in use will expire.
                LOG.warning(
                    "cannot load certificates from %s; keeping the previous ones error=%s",
                    self._folder,
                    error.strerror or error,
                )
        return self._files

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials for a server that requires client certificates from the authority."""
        used: list[Files] = [self.files()]

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            files = self.files()
            if files is used[0]:
                return None
            used[0] = files
            return _configuration(files)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(used[0]),
            fetch,  # type: ignore[arg-type]  # grpc-stubs omit None, which means no change
            require_client_authentication=True,
        )

    def http_context(self) -> ssl.SSLContext:
        """Return a context for an HTTPS server, which does not ask for client certificates."""
        first = self._context()
        used = [(self.files(), first)]

        def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            files = self.files()
            if files is not used[0][0]:
                used[0] = (files, self._context())
            connection.context = used[0][1]

        # OpenSSL calls this in every handshake, even if the client names no server.
        first.sni_callback = choose
        return first

    def _context(self) -> ssl.SSLContext:
        refuse_exposed_key(self._folder / KEY)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._folder / CERTIFICATE, self._folder / KEY)
        # Load this file only to check it: the context does not verify client certificates.
        context.load_verify_locations(self._folder / AUTHORITY)
        return context

    def _read(self) -> Files:
        return Files(
            (self._folder / CERTIFICATE).read_bytes(),
            (self._folder / KEY).read_bytes(),
            (self._folder / AUTHORITY).read_bytes(),
        )


def expiry(certificate: bytes) -> float:
    """Return when a certificate in PEM expires, in seconds since 1970."""
    return load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()


def certificates(folder: Path | None) -> Certificates | None:
    """Return the certificates in the folder; None if `folder` is None. May raise SettingsError."""
    return None if folder is None else Certificates(folder)


def client_context(folder: Path | None) -> ssl.SSLContext | None:
    """Return a context for an HTTPS client that trusts the authority; None where TLS is off."""
    return None if folder is None else ssl.create_default_context(cafile=folder / AUTHORITY)


def open_channel(target: str, folder: Path | None) -> grpc.Channel:
    """Return a channel to one of Fanfare's processes.

    Args:
        target: host:port of the process.
        folder: the folder of certificates; None where TLS is off.

    Raises:
        SettingsError: the certificates cannot be loaded.
    """
    if folder is None:
        return grpc.insecure_channel(target, CHANNEL_OPTIONS)  # noqa: TID251 - the one place
    credentials = Certificates(folder).files().channel_credentials
    return grpc.secure_channel(  # noqa: TID251 - the one place
        target, credentials, CHANNEL_OPTIONS
    )


def open_url(
    request: str | urllib.request.Request, context: ssl.SSLContext | None, timeout: float
) -> HTTPResponse:
    """Send a request to one of Fanfare's processes, never through a proxy; return the response.

    Args:
        request: the URL or the request.
        context: what client_context() returned.
        timeout: how long to wait for the response, in seconds.

    Raises:
        OSError: there is no answer, or one with a status that means failure (HTTPError).
    """
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    response: HTTPResponse = urllib.request.build_opener(*handlers).open(request, timeout=timeout)
    return response


def _configuration(files: Files) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(files.key, files.certificate)], root_certificates=files.authority
    )
