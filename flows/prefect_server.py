"""The process of Prefect's embedded server: `python -m flows.prefect_server SOCKET PARENT`.

It serves on a socket that it was given, says `ready` when it does, and ends with the process that started it, however
that ends. Prefect's own would live on for ever after a SIGKILL.
"""

import os
import select
import socket
import sys
import threading

LOOK_SECONDS = 1.0
"""How often the parent is looked for, where the end of standard input doesn't tell: a fork of it may hold the pipe."""


def main() -> None:
    """Serve until told to stop, or until nobody is there any more."""
    listening, parent = int(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    _serve(socket.socket(fileno=listening))


def _end_with(parent: int) -> None:
    """End at once when the parent has ended; a kill at any moment does no harm to the server's database."""
    while os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], LOOK_SECONDS)
        if readable and not os.read(0, 1):
            break
    os._exit(0)


def _serve(listening: socket.socket) -> None:
    import uvicorn  # noqa: PLC0415  (seconds, in which the parent may end already)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                os.write(1, b"ready\n")

    app = "prefect.server.api.server:create_app"
    Server(uvicorn.Config(app, factory=True, log_level="error", lifespan="on")).run(sockets=[listening])
    sys.exit(0)


if __name__ == "__main__":
    main()
