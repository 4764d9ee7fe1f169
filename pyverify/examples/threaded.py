"""A verifier service with a thread a connection.

``python -m pyverify.examples.threaded pyverify.db`` serves on loopback what :mod:`pyverify.examples.verifier` says.
"""

from __future__ import annotations

import socketserver
import sys
from collections.abc import Sequence

from pyverify import Policy, Store
from pyverify.examples.verifier import MAX_LINE, Verifier

IDLE_SECONDS = 60


class Server(socketserver.ThreadingTCPServer):
    """Serves until :meth:`shutdown`. The hash kernels run without the GIL, so that threads use all processors."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], verifier: Verifier) -> None:
        super().__init__(address, _Connection)
        self.verifier = verifier


class _Connection(socketserver.StreamRequestHandler):
    timeout = IDLE_SECONDS
    server: Server

    def handle(self) -> None:
        try:
            # A line that is too long ends the connection: where the next one begins is anybody's guess.
            while (line := self.rfile.readline(MAX_LINE)).endswith(b"\n"):
                self.wfile.write(self.server.verifier.answer(line))
        except OSError:  # the other side went away, or said nothing for too long
            return


def main(arguments: Sequence[str]) -> None:
    """Serves a store until it is interrupted."""
    with (
        Store.open(arguments[0]) as store,
        Server(("127.0.0.1", 8088), Verifier(store, Policy.preset("default"))) as on,
    ):
        print(f"serving on {on.server_address}", file=sys.stderr)
        on.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
