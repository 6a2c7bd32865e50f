"""What the gateway adds to a bare upstream: `make bench`.

Both are asked in turn by the same client in one run, so compare within a run only. The upstream is a fixed answer
behind a hand-written protocol, the cheapest there is; what is left is the gateway. CPU is the gateway's own, of all
its threads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.served import Served, free_port  # noqa: E402  # found only once the root is on the path

CHUNKS = 50
EVENT = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"word "},"finish_reason":%s}]}\n\n'
)
USAGE = b'"usage":{"prompt_tokens":20,"completion_tokens":50,"total_tokens":70}'
WHOLE = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"%s"},"finish_reason":"stop"}],%s}' % (b"word " * 60, USAGE)
)


def _framed(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE)
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"".join(_framed(EVENT % b"null") for _ in range(CHUNKS - 1))
    + _framed(EVENT % b'"stop"' + b'data: {"id":"c","choices":[],%s}\n\n' % USAGE + b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


class Upstream(asyncio.Protocol):
    """Answers each request whose body is complete, without looking at more than it must."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.WriteTransport = transport  # type: ignore[assignment]  # uvloop's has no such base
        self.held = b""

    def data_received(self, data: bytes) -> None:
        self.held += data
        head, separator, rest = self.held.partition(b"\r\n\r\n")
        if not separator:
            return
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if lengths and len(rest) >= int(lengths[0].split(b":")[1]):
            self.held = b""
            self.transport.write(STREAM if b'"stream":true' in rest else ANSWER)


async def serve(port: int) -> None:
    """The upstream, until it is killed."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


@dataclass
class Target:
    """Where requests go, and the process whose CPU they cost."""

    name: str
    port: int
    key: str
    pid: int

    def request(self, size: int, *, stream: bool, values: int = 0) -> bytes:
        """A request whose prompt is *size* bytes long, as raw HTTP; with *values*, so many messages with one each."""
        texts = [f"{'lorem ipsum ' * (size // 12 // values)} user{row}@corp-mail.net" for row in range(values)]
        texts = texts or ["lorem ipsum " * (size // 12)]
        messages = [{"role": ("user", "assistant")[row % 2], "content": text} for row, text in enumerate(texts)]
        data = {"model": "gpt-4o", "stream": stream, "messages": messages}
        body = json.dumps(data, separators=(",", ":")).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def cpu(self) -> float:
        """Seconds of CPU that all its threads have used."""
        tasks = Path(f"/proc/{self.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9

    def memory(self) -> float:
        """MB of memory it holds."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> float:
    """Send *request*, read its answer, and give the seconds until its first byte of content."""
    began = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise AssertionError(head)
    lower = head.lower()
    if b"content-length:" in lower:
        await reader.readexactly(int(lower.split(b"content-length:")[1].split(b"\r\n")[0]))
        return time.perf_counter() - began
    first = 0.0
    while size := int(await reader.readline(), 16):
        first = first or time.perf_counter() - began
        await reader.readexactly(size + 2)
    await reader.readline()
    return first


async def loop_of(target: Target, request: bytes, connections: int, count: int) -> tuple[list[float], float, float]:
    """*count* requests over *connections*: the seconds of each, wall seconds, and CPU seconds of the target."""
    streams = [await asyncio.open_connection("127.0.0.1", target.port) for _ in range(connections)]
    times: list[float] = []
    cpu, began = target.cpu(), time.perf_counter()

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        times.extend([await one(reader, writer, request) for _ in range(count // connections)])

    await asyncio.gather(*(work(*each) for each in streams))
    wall, cpu = time.perf_counter() - began, target.cpu() - cpu
    for _, writer in streams:
        writer.close()
    return times, wall, cpu


Row = tuple[str, list[str]]
SCENARIOS = (
    ("whole, 200 bytes, 1 connection", 200, 0, False, 1, 600),
    ("whole, 200 bytes, 16 connections", 200, 0, False, 16, 2400),
    ("whole, 100 KB, 1 connection", 100_000, 0, False, 1, 300),
    ("whole, 100 KB with 20 values", 100_000, 20, False, 1, 300),
    (f"stream of {CHUNKS}, 1 connection", 200, 0, True, 1, 200),
    (f"stream of {CHUNKS} with a value", 200, 1, True, 1, 200),
    (f"stream of {CHUNKS}, 32 connections", 200, 0, True, 32, 640),
)


async def measure(targets: list[Target], rounds: int, scale: float) -> list[Row]:
    """Every scenario against every target, in turn, *rounds* times; medians."""
    rows: list[Row] = []
    for name, size, values, stream, connections, count in SCENARIOS:
        found: dict[str, list[tuple[float, float, float, float]]] = {each.name: [] for each in targets}
        for _ in range(rounds):
            for target in targets:
                request = target.request(size, stream=stream, values=values)
                much = max(connections, int(count * scale))
                await loop_of(target, request, connections, max(connections, much // 5))
                times, wall, cpu = await loop_of(target, request, connections, much)
                cuts = statistics.quantiles(times, n=100)
                found[target.name].append((cuts[49] * 1e3, cuts[98] * 1e3, len(times) / wall, cpu / len(times) * 1e6))
        medians = {
            each: [statistics.median(column) for column in zip(*got, strict=True)] for each, got in found.items()
        }
        bare, ours = medians["bare"], medians["membrain"]
        cells = [
            f"{ours[0] - bare[0]:.2f}",
            f"{ours[1] - bare[1]:.2f}",
            f"{ours[2]:,.0f}",
            f"{ours[3]:.0f}",
            f"{bare[3]:.0f}",
        ]
        rows.append((name, cells))
    return rows


def report(rows: list[Row], memory: tuple[float, float]) -> None:
    """The table, for people."""
    titles = ["added p50 ms", "added p99 ms", "per second", "CPU µs each", "bare CPU µs"]
    print(f"{'':36}" + "".join(f"{title:>14}" for title in titles))
    for name, cells in rows:
        print(f"{name:36}" + "".join(f"{cell:>14}" for cell in cells))
    print(f"\nmemory {memory[0]:.0f} MB idle, {memory[1]:.0f} MB after the run")


def main() -> None:
    """Start both, measure, and stop both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer requests")
    parser.add_argument("--upstream", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.upstream:
        uvloop.run(serve(args.upstream))
        return
    port = free_port()
    upstream = subprocess.Popen([sys.executable, __file__, "--upstream", str(port)])
    environ = {"OPENAI_API_KEY": "sk-bench-0123456789", "UPSTREAM_OPENAI_URL": f"http://127.0.0.1:{port}/v1"}
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            Served(Path(folder) / "home", None, MEMBRAIN_PROVIDERS_OLLAMA_URL="", **environ) as served,
        ):
            key = served.post("/api/keys", {"name": "bench"}).json()["key"]
            bare = Target("bare", port, "none", upstream.pid)
            ours = Target("membrain", served.port, key, served.pid)
            idle = ours.memory()
            rows = uvloop.run(measure([bare, ours], args.rounds, args.scale))
            report(rows, (idle, ours.memory()))
    finally:
        upstream.kill()
        upstream.wait()


if __name__ == "__main__":
    main()
