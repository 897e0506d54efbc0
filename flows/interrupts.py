"""Ctrl-C, SIGTERM and SIGHUP end the command: at once, with one sentence, from its first moment to its last.

Parts appear whole, so that nothing is half-written. An exception would end only the main thread; the others would work
on to the end of their stage. Nothing but the standard library is imported here, since this comes before all else.

Proxies that the environment names stand before other machines, and not before the command's own server.
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
    """Put this machine into `NO_PROXY`, in both spellings, where a proxy is named.

    Not where `PREFECT_API_URL` names a server: what stands before that one is for its user to say.
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
"""How long what still has to be told somebody may take, all together."""

_last_acts: list[Callable[[], None]] = []
_leaving = threading.Lock()
_wakeup: list[socket.socket] = []


def handle() -> None:
    """Take the signals from now on; more than once is no fault. A signal that the caller ignores stays ignored.

    Python runs a handler in the main thread only, and only between two of its instructions; a long call into a library
    would hold it up. So a thread listens to what the interpreter writes for each signal the moment it comes.
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
def last_act(act: Callable[[], None]) -> Iterator[None]:
    """While it lasts, an interrupted command does this before it ends, for `SECONDS` at most."""
    _last_acts.append(act)
    try:
        yield
    finally:
        _last_acts.remove(act)


def _forget() -> None:
    """A fork shares the socket: what ends it would end this process as well."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if signal.getsignal(number) is _handler:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _handler(number: int, _frame: object) -> None:
    threading.Thread(target=_leave, args=(number,), daemon=True).start()
    # The main thread does nothing more, so that it tells of no consequence as if it were a fault of its own.
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
    acts = [threading.Thread(target=act, daemon=True) for act in reversed(_last_acts)]
    for act in acts:
        act.start()
    for act in acts:
        act.join(max(0.0, deadline - time.monotonic()))
    os._exit(1)


def _say(number: int) -> None:
    """Straight to the terminal: whatever writes there usually may be held by a thread that waits for this one."""
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    sentence = f"interrupted{by}; what is done is kept, and the same command continues\n"
    with suppress(OSError, ValueError):  # nobody may be there to read it
        file = sys.stderr.fileno()
        # A bar may stand on the line, and has hidden the cursor.
        terminal = os.isatty(file)
        mark = "\r\x1b[2K\x1b[?25h\x1b[31mgloss:\x1b[0m " if terminal else "gloss: "
        os.write(file, f"{mark}{sentence}".encode())
