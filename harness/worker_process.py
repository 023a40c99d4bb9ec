"""The process of a worker that `harness.processes` starts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING

from .remote_worker import RemoteWorker

if TYPE_CHECKING:
    from .jobs import Job


def main() -> None:
    """Do the jobs that come through the connection whose number is the argument, until it is closed."""
    connection = Connection(int(sys.argv[1]))
    os.dup2(2, 1)  # what is printed here is not an answer of the command
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this process, ...
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ... who passes it on
    jobs: SimpleQueue[tuple[Job, bool]] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, jobs), daemon=True).start()
    worker: RemoteWorker | None = None
    with suppress(KeyboardInterrupt):
        while True:
            job, wait = jobs.get()
            worker = worker or RemoteWorker(job.run)
            connection.send(worker.do(job, wait=wait))


def _receive(connection: Connection, jobs: SimpleQueue[tuple[Job, bool]]) -> None:
    """Pass jobs on, and end this process as soon as the one that started it is gone."""
    try:
        while True:
            jobs.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)


if __name__ == "__main__":
    main()
