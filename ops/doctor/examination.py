"""All checks of `fanfare doctor`, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable

from core.settings import Settings, SettingsError
from ops.doctor.installation import package_check, setting_check
from ops.doctor.kafka import kafka_checks
from ops.doctor.machine import machine_checks
from ops.doctor.postgres import postgres_checks
from ops.doctor.processes import process_checks
from ops.doctor.redis import redis_checks
from ops.doctor.runner import Check, run_checks
from ops.doctor.secret_files import secret_file_checks
from ops.doctor.verdicts import Result, verdict_of_error


def examine(load_settings: Callable[[], Settings]) -> list[Result]:
    """Run all checks; where the settings cannot be read, those that need none.

    Args:
        load_settings: returns the settings, or raises SettingsError.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        return [Result("settings", verdict_of_error(error)), *run_checks([package_check()])]
    checks: list[Check] = [
        setting_check(settings),
        package_check(),
        *machine_checks(settings),
        *process_checks(settings),
        *secret_file_checks(settings),
        *postgres_checks(settings),
        *redis_checks(settings),
        *kafka_checks(settings),
    ]
    return run_checks(checks)
