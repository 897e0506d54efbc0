"""Signal handlers: Ctrl-C, SIGTERM and SIGHUP end the command at once, with one sentence; and `NO_PROXY` for loopback.

Parts are written whole, so that nothing is left half-written. An exception would end only the main thread; the others
would go on to the end of their stage. Nothing but the standard library is imported, since this module is loaded first.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress

LOOPBACK = ("127.0.0.1", "localhost")


def spare_loopback(environment: MutableMapping[str, str]) -> None:
    """Put loopback into `NO_PROXY`, in both spellings, where a proxy is set, as Prefect's server runs on this machine.

    Not where `PREFECT_API_URL` names a server: whether that one has a proxy is its user's choice.
    """
    named = {name.lower() for name, value in environment.items() if value}
    if environment.get("PREFECT_API_URL") or not named & {"http_proxy", "https_proxy", "all_proxy"}:
        return
    given = {name: environment.get(name, "") for name in ("no_proxy", "NO_PROXY")}
    for name, value in given.items():
        spared = [host.strip() for host in (value or given["no_proxy"] or given["NO_PROXY"]).split(",")]
        environment[name] = ",".join(dict.fromkeys(host for host in (*spared, *LOOPBACK) if host))


SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
SECONDS = 4.0
"""How long all exit callbacks together may take."""

_exit_callbacks: list[Callable[[], None]] = []
_leaving = threading.Lock()
_wakeup: list[socket.socket] = []


def handle() -> None:
    """Handle the signals from now on; calling it again changes nothing. A signal that the caller ignores stays ignored.

    Python runs a handler in the main thread only, between two of its instructions; a long call into a library would
    delay it. So a thread listens to the wakeup socket, to which the interpreter writes each signal as it comes.
    """
    if _wakeup or threading.current_thread() is not threading.main_thread():
        return
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    _wakeup.extend((ours, theirs))
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(ours,), name="interrupts", daemon=True).start()
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants SIGHUP
            signal.signal(number, _handler)
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def on_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """While it lasts, an interrupted command calls `act` before it ends, for `SECONDS` at most."""
    _exit_callbacks.append(act)
    try:
        yield
    finally:
        _exit_callbacks.remove(act)


def _forget() -> None:
    """A fork shares the socket: a signal to it would end this process as well."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if signal.getsignal(number) is _handler:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _handler(number: int, _frame: object) -> None:
    threading.Thread(target=_leave, args=(number,), daemon=True).start()
    # The main thread does nothing more, so that it reports no consequence of the interrupt as an error.
    time.sleep(2 * SECONDS)
    os._exit(1)


def _listen(wakeup: socket.socket) -> None:
    while True:
        for number in wakeup.recv(64):
            if number in SIGNALS:
                _leave(number)


def _leave(number: int) -> None:
    if not _leaving.acquire(blocking=False):
        return
    _say(number)
    deadline = time.monotonic() + SECONDS
    acts = [threading.Thread(target=act, daemon=True) for act in reversed(_exit_callbacks)]
    for act in acts:
        act.start()
    for act in acts:
        act.join(max(0.0, deadline - time.monotonic()))
    os._exit(1)


def _say(number: int) -> None:
    """Write to the terminal directly: a thread that waits for this one may hold the usual console."""
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    sentence = f"interrupted{by}; what is done is kept, and the same command continues\n"
    with suppress(OSError, ValueError):  # nobody may be there to read it
        file = sys.stderr.fileno()
        # A bar may stand on the line, and has hidden the cursor.
        terminal = os.isatty(file)
        mark = "\r\x1b[2K\x1b[?25h\x1b[31mgloss:\x1b[0m " if terminal else "gloss: "
        os.write(file, f"{mark}{sentence}".encode())
