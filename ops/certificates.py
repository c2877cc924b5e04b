"""Certificates for a local system: an authority of its own, and one certificate for everything."""

from __future__ import annotations

import ipaddress
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from core.rpc.tls import AUTHORITY, CERTIFICATE, KEY

VALIDITY = timedelta(days=365)
# Certificates are valid from this long ago, for clients whose clock is behind.
CLOCK_SKEW = timedelta(hours=1)


class Authority:
    """A certificate authority whose private key is never written to disk."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Fanfare's own authority")
        public = self._key.public_key()
        self._certificate = (
            _builder(self._name, self._name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, SHA256())
        )

    def issue(self, folder: Path, common_name: str, bind: str = "127.0.0.1") -> None:
        """Issue a certificate for localhost, and for one more address.

        Args:
            folder: gets the certificate, its private key and the authority's certificate.
            common_name: the common name in the certificate.
            bind: the other address or name, in the form of FANFARE_BIND.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
        try:
            other: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(bind.strip("[]")))
        except ValueError:
            other = x509.DNSName(bind)
        if other not in names:
            names.append(other)
        certificate = (
            _builder(_name(common_name), self._name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / KEY).touch(mode=0o600)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / KEY).write_bytes(pem)
        (folder / CERTIFICATE).write_bytes(certificate.public_bytes(Encoding.PEM))
        (folder / AUTHORITY).write_bytes(self._certificate.public_bytes(Encoding.PEM))


def client_options(folder: Path | None) -> tuple[str, str, str]:
    """Return the scheme of URLs, the options for curl and the options for grpcurl.

    Args:
        folder: the folder of the client's certificates; None if TLS is off.
    """
    if folder is None:
        return "http", "", "-plaintext"
    files = {"cacert": AUTHORITY, "cert": CERTIFICATE, "key": KEY}
    quoted = {name: shlex.quote(str(folder / file)) for name, file in files.items()}
    grpcurl = " ".join(f"-{name} {file}" for name, file in quoted.items())
    return "https", f" --cacert {quoted['cacert']}", grpcurl


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer, subject, key, x509.random_serial_number(), now - CLOCK_SKEW, now + VALIDITY
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
