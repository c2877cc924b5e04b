"""Checks of certificates and keys: who may read them, and how long they are valid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

from core.auth.access_tokens import PublicKeys, Signer
from core.rpc.tls import AUTHORITY, CERTIFICATE, Certificates
from core.runtime.key_files import ExposedKeyError, refuse_exposed_key
from core.settings import Settings, SettingsError
from core.storage.kafka import client_settings
from ops.doctor.runner import Check
from ops.doctor.verdicts import Status, Verdict, verdict_of_sentence

TLS_CHECK = "TLS certificate"
# As the alert FanfareCertificateExpires.
WARN_DAYS = 14
# The options of servers' addresses that name a private key, and those that name certificates.
_KEYS = ("ssl.key.location", "ssl_keyfile", "sslkey")
_CERTIFICATES = (
    "ssl.certificate.location",
    "ssl.ca.location",
    "ssl_certfile",
    "ssl_ca_certs",
    "sslcert",
    "sslrootcert",
)


def secret_file_checks(settings: Settings) -> list[Check]:
    """Return the checks of the files that the settings name."""
    return [
        Check("signing keys", lambda: _check_keys(settings.auth_keys)),
        Check(TLS_CHECK, lambda: _check_tls(settings.tls_dir)),
        Check("files of servers", lambda: _check_server_files(settings)),
    ]


def expiry_verdict(name: str, begins: datetime, ends: datetime, now: datetime) -> Verdict:
    """Return the verdict on the time in which a certificate is valid.

    Args:
        name: the certificate's file.
        begins: when it becomes valid.
        ends: when it expires.
        now: the present time.
    """
    renew = "replace it; running processes take the new file within seconds"
    if now >= ends:
        return Verdict(Status.FAIL, f"{name} has expired on {ends:%F}", renew)
    if now < begins:
        text = f"{name} is not valid before {begins:%F %T} UTC"
        return Verdict(Status.FAIL, text, "set this machine's clock, or replace the certificate")
    days = (ends - now) / timedelta(days=1)
    if days < WARN_DAYS:
        return Verdict(Status.WARN, f"{name} expires in {days:.1f} days, on {ends:%F}", renew)
    return Verdict(Status.OK, f"{name} is valid until {ends:%F}")


def is_issued_by(certificates: list[x509.Certificate], authorities: list[x509.Certificate]) -> bool:
    """Return whether the last certificate of a chain was issued by one of the authorities.

    Args:
        certificates: a certificate, followed by the intermediate ones.
        authorities: the certificates of the authorities that are trusted.
    """
    for authority in authorities:
        try:
            certificates[-1].verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def _check_keys(folder: Path | None) -> list[Verdict]:
    if folder is None:
        text = "none are needed, since authentication is off (FANFARE_AUTH_KEYS is not set)"
        return [Verdict(Status.OK, text)]
    public = PublicKeys(folder).all()
    if not any(folder.glob("*.private.pem")):
        text = f"{folder} has no private key"
        cure = "copy one here, unless only the read service runs on this machine"
        return [Verdict(Status.WARN, text, cure)]
    private = Signer(folder).all()
    if unknown := set(private) - set(public):
        text = f"{folder} has the private key {min(unknown)} without its public one"
        return [Verdict(Status.FAIL, text, "copy its .public.pem file here, or tokens are refused")]
    return [
        Verdict(Status.OK, f"{folder} has {len(private)} for signing, and others cannot read it")
    ]


def _check_tls(folder: Path | None) -> list[Verdict]:
    if folder is None:
        return [Verdict(Status.OK, "none is needed, since TLS is off (FANFARE_TLS_DIR is not set)")]
    try:
        Certificates(folder)  # refuses files that do not match, and a key that others may read
    except SettingsError as error:
        found = verdict_of_sentence(str(error))
        return [replace(found, cure=found.cure or "put all three there, made for each other")]
    certificate, authority = folder / CERTIFICATE, folder / AUTHORITY
    verdicts = [*_expiries(certificate), *_expiries(authority)]
    if not is_issued_by(_load(certificate), _load(authority)):
        text = f"{certificate} was not issued by the authority of {authority}"
        cure = (
            "replace one of the two; intermediate certificates follow the certificate in its file"
        )
        verdicts.append(Verdict(Status.FAIL, text, cure))
    return verdicts


def _check_server_files(settings: Settings) -> list[Verdict]:
    """Check the files that the addresses of Postgres, Redis and Kafka name."""
    verdicts = []
    for option, path in _server_files(settings):
        try:
            if option in _KEYS:
                refuse_exposed_key(path)
                verdicts.append(Verdict(Status.OK, f"others cannot read {path}"))
            else:
                verdicts += _expiries(path)
        except (OSError, ValueError) as error:
            verdicts.append(_unusable(path, error))
    return verdicts or [Verdict(Status.OK, "the addresses of the servers name none")]


def _server_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield the options in the servers' addresses that name a file of a key or certificate."""
    options: dict[str, object] = {}
    addresses: list[tuple[Callable[[], str], Callable[[str], Mapping[str, object]]]] = [
        (settings.primary_dsn, conninfo_to_dict),
        (settings.redis_address, parse_url),
        (settings.kafka_address, client_settings),
    ]
    for address, parse in addresses:
        with suppress(SettingsError):  # the check of that server tells it
            options |= parse(address())
    for option in (*_KEYS, *_CERTIFICATES):
        # The certificates that the system trusts are not one file.
        if (path := options.get(option)) and path != "system":
            yield option, Path(str(path))


def _unusable(path: Path, error: Exception) -> Verdict:
    if isinstance(error, ExposedKeyError):
        return verdict_of_sentence(str(error.strerror))
    reason = error.strerror if isinstance(error, OSError) else "is not a certificate in PEM"
    return Verdict(Status.FAIL, f"{path}: {reason}", "correct the path, or replace the file")


def _expiries(path: Path) -> list[Verdict]:
    """Return the verdict on the certificate in a file that expires first."""
    first = min(_load(path), key=lambda certificate: certificate.not_valid_after_utc)
    begins, ends = first.not_valid_before_utc, first.not_valid_after_utc
    return [expiry_verdict(str(path), begins, ends, datetime.now(UTC))]


def _load(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())
