"""A TCP relay that can be cut and restored: the demo's network. Nodes learn of a cut only from their sockets."""

from __future__ import annotations

import asyncio
import contextlib

_CHUNK_BYTES = 64 * 1024


class Relay:
    """Forwards connections from a port of its own to another port of this machine; counts bytes both ways.

    ``stalls_after`` is the number of bytes back after which nothing more is read from the target, and no end is closed.
    """

    def __init__(self, target: int, stalls_after: int | None = None) -> None:
        self.target = target
        self.stalled = asyncio.Event()
        self._stalls_after = stalls_after
        self._cut = asyncio.Event()
        self._carrying: set[asyncio.Task[None]] = set()
        self.port = 0
        self.bytes_forward = 0
        self.bytes_back = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def carried(self) -> int:
        """Bytes carried, both ways together."""
        return self.bytes_forward + self.bytes_back

    async def start(self) -> None:
        """Listen; after a cut, on the same port again."""
        self._cut.clear()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection and refuse new ones; all are gone on return."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        self._cut.set()
        await asyncio.gather(*self._carrying)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(
                self._pump(reader, far_writer, forward=True), self._pump(far_reader, writer, forward=False)
            )
        finally:
            self._carrying.discard(task)
            self._writers -= {writer, far_writer}

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, forward: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                if forward:
                    self.bytes_forward += len(data)
                else:
                    self.bytes_back += len(data)
                    if self._stalls_after is not None and self.bytes_back > self._stalls_after:
                        self.stalled.set()
                        await self._cut.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
