"""One driver a run: a lease in the run's storage says which process may work on it.

A lease is a file for each time that the run was taken, `lease/000007.json`; that of the highest number holds. Taking
the run is creating the next number, which only one process can do. Clocks may differ: a lease of another machine has
expired if it was not renewed while it was watched for `EXPIRES_SECONDS`. The lease of a process of this machine that is
gone has expired at once.
"""

import json
import os
import platform
import signal
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from skilljobs.errors import InputError, JobFailed
from skilljobs.store.exclusive import create
from skilljobs.store.files import Folder

LEASE_FOLDER = "lease"
RENEW_SECONDS = 5.0
EXPIRES_SECONDS = 40.0
WATCH_SECONDS = 1.0


@dataclass(frozen=True)
class Holder:
    """The process that holds a run, and how often it has said so."""

    id: str
    host: str
    pid: int
    machine: str
    """Machine, boot and process namespace: within one, process ids mean the same."""
    started: str
    """When the process started, in the machine's ticks since boot."""
    renewed: int = 0
    released: bool = False

    @classmethod
    def this_process(cls) -> "Holder":
        return cls(uuid.uuid4().hex, platform.node(), os.getpid(), _machine(), _start_of(os.getpid()))

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process of this machine."""
        return self.machine == _machine()

    @property
    def is_alive_here(self) -> bool:
        return self.is_here and _start_of(self.pid) == self.started != ""

    def to_bytes(self) -> bytes:
        return (json.dumps(asdict(self)) + "\n").encode()


class RunLease:
    """The right to work on the run in `folder`. As a context, it gives back what `acquire` took."""

    def __init__(self, folder: Folder, on_note: Callable[[str], None]) -> None:
        self._folder, self._note = folder, on_note
        self._holder = Holder.this_process()
        self._number: int | None = None
        self._taken_over_by: Holder | None = None
        self._owner = threading.current_thread()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> "RunLease":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._number is not None and self._taken_over_by is None:
            with suppress(OSError, pa.ArrowException, InputError):  # it expires
                self._folder.write(_name(self._number), replace(self._holder, released=True).to_bytes())
        if self._taken_over_by is not None:
            by = self._taken_over_by
            raise JobFailed(
                f"process {by.pid} on {by.host} took over the run at {self._folder.uri}, since this job had not renewed"
                f" its lease for {EXPIRES_SECONDS:.0f} s: that job goes on",
                "",
            ) from error

    def acquire(self) -> None:
        """Take the run, unless this lease has it already.

        Raises:
            InputError: another process is working on it, or its directory cannot be written.
        """
        while self._number is None:
            number, holder = self._current()
            if holder is not None and not holder.released:
                self._refuse_if_alive(number, holder)
                self._note(f"the job of process {holder.pid} on {holder.host} has died: this one takes the run over")
            try:
                created = create(self._folder, _name(number + 1), self._holder.to_bytes())
                # a later number may have been taken, and this one deleted, since the folder was listed
                if created and self._current()[0] == number + 1:
                    self._number = number + 1
            except (OSError, pa.ArrowException) as error:
                uri = self._folder.uri
                raise InputError(f"--out: the run's directory {uri} cannot be written: {error}") from error
            for old in range(number, 0, -1):
                if self._number is None or not self._folder.exists(_name(old)):
                    break
                self._folder.delete(_name(old))
        if self._thread.ident is None:
            self._thread.start()

    def _refuse_if_alive(self, number: int, holder: Holder) -> None:
        """Return once a holder is known to have died.

        Raises:
            InputError: it is alive.
        """
        working = InputError(
            f"process {holder.pid} on {holder.host} is working on the run at {self._folder.uri}: wait for it"
            f" (skilljobs status), or stop it (skilljobs stop)"
        )
        if holder.is_here:
            if holder.is_alive_here:
                raise working
            return
        self._note(
            f"process {holder.pid} on {holder.host} was working on this run: {EXPIRES_SECONDS:.0f} s to see whether it"
            " still is"
        )
        deadline = time.monotonic() + EXPIRES_SECONDS
        while time.monotonic() < deadline:
            time.sleep(WATCH_SECONDS)
            current_number, current = self._current()
            if (current_number, current) != (number, holder):
                if current is not None and current.released:
                    return
                raise working

    def _current(self) -> tuple[int, Holder | None]:
        """The highest number that was taken, 0 if none was, and who took it; None if that cannot be read."""
        number, holder = -1, None
        while holder is None and number != (number := self._highest()):
            holder = _read(self._folder, number)
        return number, holder

    def _highest(self) -> int:
        names = self._folder.names(LEASE_FOLDER, ".json")
        return max((int(stem) for name in names if (stem := Path(name).stem).isdigit()), default=0)

    def _keep(self) -> None:
        """Renew the lease until it is given back; stop the job if another one has taken the run."""
        while not self._ended.wait(RENEW_SECONDS):
            try:
                number, holder = self._current()
                if self._number is not None and number > self._number:
                    self._taken_over_by = holder or replace(self._holder, host="another machine", pid=0)
                    if self._owner is threading.main_thread():
                        os.kill(os.getpid(), signal.SIGTERM)
                    return
                self._holder = replace(self._holder, renewed=self._holder.renewed + 1)
                self._folder.write(_name(self._number or 0), self._holder.to_bytes())
            except (OSError, pa.ArrowException, InputError):  # storage that is away; the shards' own writes decide
                continue


def _name(number: int) -> str:
    return f"{LEASE_FOLDER}/{number:06d}.json"


def _read(folder: Folder, number: int) -> Holder | None:
    try:
        return Holder(**json.loads(folder.read(_name(number))))
    except (OSError, ValueError, TypeError, RecursionError):
        return None  # deleted in that moment, or damaged


def _machine() -> str:
    boot, namespace = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    return f"{platform.node()} {boot} {namespace}".strip()


def _start_of(pid: int) -> str:
    """When a process of this machine started; empty if there is none, or if it has ended and waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "" if not _exists(pid) else "unknown"
    return "" if fields[0] == "Z" else fields[19]


def _exists(pid: int) -> bool:
    """Whether there is such a process, where there is no /proc."""
    if Path("/proc/self").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
