"""The one instance that an SQLite file may have: others would take its live runs for dead."""

import fcntl
import os
from pathlib import Path

from penstock_server.store.errors import StoreError


class InstanceLock:
    """A locked file beside the database, which names the process that holds it.

    The lock is the operating system's (`flock`): it ends with the process, however that ends, or with the last of those
    that inherited its handle. The file stays.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(f"{database.name}.lock")
        self._handle = -1

    def acquire(self) -> None:
        """Takes possession.

        Raises:
            StoreError: another process has it, or the file cannot be written.
        """
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip()
            self.release()
            raise StoreError(self._refusal(holder)) from None
        except OSError as error:
            self.release()
            raise StoreError(f"{self._path} cannot be locked: {error.strerror}; is it on a network disk?") from None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    @property
    def handle(self) -> int:
        """The handle of the locked file; copies of it hold the lock as well. Negative where it is not held."""
        return self._handle

    def release(self) -> None:
        """Lets others take possession, unless a copy of the handle is open somewhere."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _refusal(self, holder: str) -> str:
        process = f"process {holder}" if holder else "another process"
        return (
            f"{self._database} is in use by {process}, and an SQLite store has one instance: stop that one, give this "
            "one a file of its own with --store sqlite:///PATH, or use MySQL or PostgreSQL, which instances may share"
        )
