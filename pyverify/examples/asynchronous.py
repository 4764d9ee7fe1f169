"""A verifier service with asyncio: connections are tasks, appraisals run on a few threads.

An appraisal is work for a processor and calls of a database, so it never runs in the event loop, and as many run at a
time as there are processors; the others wait, while the loop goes on to read and write.
``python -m pyverify.examples.asynchronous pyverify.db`` serves on loopback what :mod:`pyverify.examples.verifier` says.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from pyverify import Policy, Store
from pyverify.examples.verifier import MAX_LINE, Verifier
from pyverify.fleet.job import default_jobs

IDLE_SECONDS = 60


@asynccontextmanager
async def serving(verifier: Verifier, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[asyncio.Server]:
    """A server that answers while the block runs."""
    with ThreadPoolExecutor(default_jobs(), thread_name_prefix="verifier") as pool:

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            loop = asyncio.get_running_loop()
            try:
                while line := await asyncio.wait_for(reader.readline(), IDLE_SECONDS):
                    writer.write(await loop.run_in_executor(pool, verifier.answer, line))
                    await writer.drain()  # who does not read its answers is asked nothing more
            except (ValueError, OSError, TimeoutError):
                pass  # a line that is too long, a peer that went away or says nothing
            finally:
                writer.close()

        async with await asyncio.start_server(converse, host, port, limit=MAX_LINE) as server:
            yield server


async def serve(arguments: Sequence[str]) -> None:
    """Serves a store until it is interrupted."""
    with Store.open(arguments[0]) as store:
        async with serving(Verifier(store, Policy.preset("default")), port=8088) as server:
            print(f"serving on {server.sockets[0].getsockname()}", file=sys.stderr)
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
