"""What `fanfare doctor` says about certificates and keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.auth.access_tokens import create_key
from core.settings import Settings
from ops import certificates
from ops.certificates import Authority
from ops.doctor.runner import run_checks
from ops.doctor.secret_files import WARN_DAYS, expiry_verdict, secret_file_checks
from ops.doctor.verdicts import Status, Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _check(name: str, settings: Settings) -> list[Verdict]:
    checks = [check for check in secret_file_checks(settings) if check.name == name]
    return [result.verdict for result in run_checks(checks)]


def _tls(folder: Path) -> list[Verdict]:
    return _check("TLS certificate", Settings(tls_dir=folder))


def _keys(folder: Path) -> list[Verdict]:
    return _check("signing keys", Settings(auth_keys=folder))


def _failed(verdicts: list[Verdict], text: str, status: Status = Status.FAIL) -> None:
    (verdict,) = [verdict for verdict in verdicts if verdict.status is not Status.OK]
    assert verdict.status is status
    assert text in verdict.text
    assert verdict.cure


@pytest.mark.parametrize(
    ("days", "status"),
    [(-0.1, Status.FAIL), (WARN_DAYS - 0.1, Status.WARN), (WARN_DAYS + 0.1, Status.OK)],
)
def test_a_certificate_is_judged_by_the_days_that_are_left(days: float, status: Status) -> None:
    """It warns in time to replace it."""
    ends = NOW + timedelta(days=days)
    assert expiry_verdict("x", NOW - timedelta(days=90), ends, NOW).status is status


def test_a_certificate_of_the_future_is_not_valid() -> None:
    """A machine whose clock is behind sees it so."""
    begins = NOW + timedelta(seconds=1)
    verdict = expiry_verdict("x", begins, NOW + timedelta(days=90), NOW)
    assert (verdict.status, "set this machine's clock" in verdict.cure) == (Status.FAIL, True)


def test_good_files_pass(tmp_path: Path) -> None:
    """Those of `fanfare up --auth` do, and where they are off, none are needed."""
    Authority().issue(tmp_path / "tls", "fanfare")
    create_key(tmp_path / "keys")
    for verdicts in (
        _tls(tmp_path / "tls"),
        _keys(tmp_path / "keys"),
        *(_check(name, Settings()) for name in ("TLS certificate", "signing keys")),
    ):
        assert [verdict for verdict in verdicts if verdict.status is not Status.OK] == []


def test_a_short_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told when it expires; an expired one is a failure."""
    monkeypatch.setattr(certificates, "VALIDITY", timedelta(days=2))
    authority = Authority()
    authority.issue(tmp_path, "fanfare")
    verdicts = _tls(tmp_path)
    assert [verdict.status for verdict in verdicts] == [Status.WARN, Status.WARN]
    assert f"{tmp_path / 'tls.crt'} expires in 2.0 days" in verdicts[0].text
    monkeypatch.setattr(certificates, "VALIDITY", timedelta(minutes=-1))
    authority.issue(tmp_path, "fanfare")
    assert "has expired on" in _tls(tmp_path)[0].text


def test_a_certificate_of_another_authority(tmp_path: Path) -> None:
    """Neither side would accept the other."""
    Authority().issue(tmp_path / "other", "fanfare")
    Authority().issue(tmp_path, "fanfare")
    (tmp_path / "other" / "ca.crt").rename(tmp_path / "ca.crt")
    _failed(_tls(tmp_path), "was not issued by the authority")


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """A key that others may read, and files that are missing, are told with what to do."""
    _failed(_tls(tmp_path), "No such file")
    Authority().issue(tmp_path, "fanfare")
    (tmp_path / "tls.key").chmod(0o644)
    (verdict,) = _tls(tmp_path)
    assert "has mode 0644" in verdict.text
    assert verdict.cure.startswith("run `chmod 600`")


def test_signing_keys_that_cannot_be_used(tmp_path: Path) -> None:
    """No key, a readable one, no private one, and a private one without its public one."""
    folder = tmp_path / "keys"
    _failed(_keys(folder), "without a usable *.public.pem")
    kid = create_key(folder)
    private, public = folder / f"{kid}.private.pem", folder / f"{kid}.public.pem"
    private.chmod(0o640)
    if private.stat().st_uid == 0:
        private.chmod(0o644)
    _failed(_keys(folder), "lets others read or change it")
    private.chmod(0o600)
    other = create_key(folder)
    public.unlink()
    _failed(_keys(folder), f"the private key {kid} without its public one")
    for name in (kid, other):
        (folder / f"{name}.private.pem").unlink()
    _failed(_keys(folder), "has no private key", Status.WARN)


def test_the_files_that_addresses_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates and keys for Postgres, Redis and Kafka are looked at as well."""
    monkeypatch.setattr(certificates, "VALIDITY", timedelta(days=2))
    Authority().issue(tmp_path, "fanfare")
    (tmp_path / "tls.key").chmod(0o666)
    (tmp_path / "bad.crt").write_text("hunter2")
    given = Settings(
        postgres_dsn=SecretStr(f"postgresql://u:hunter2@h/d?sslrootcert={tmp_path / 'bad.crt'}"),
        redis_url=SecretStr(f"rediss://:hunter2@h:1/0?ssl_ca_certs={tmp_path / 'none.crt'}"),
        kafka_bootstrap_servers=SecretStr(
            f"ssl://h:1?cert={tmp_path / 'tls.crt'}&key={tmp_path / 'tls.key'}"
        ),
    )
    told = {verdict.text for verdict in _check("files of servers", given)}
    for part in (
        f"{tmp_path / 'bad.crt'}: is not a certificate in PEM",
        f"{tmp_path / 'none.crt'}: No such file or directory",
        f"{tmp_path / 'tls.crt'} expires in 2.0 days",
        f"the private key {tmp_path / 'tls.key'} has mode 0666",
    ):
        assert any(part in text for text in told), (part, told)
    assert "hunter2" not in str(told)
