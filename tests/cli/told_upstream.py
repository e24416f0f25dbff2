"""An upstream that remembers what it was sent, and says what a test wants."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORD_S, ENDLESS_S = 0.02, 0.1


class ToldUpstream:
    """Says `words`, one every 20 ms; over and over while `endless`, and slower: it has to be stopped while all that it
    has said is one line on a screen. `bodies` are the requests so far.
    """

    def __init__(self) -> None:
        self.words = ["Fine, ", "thanks."]
        self.endless = False
        self.bodies: list[dict[str, Any]] = []
        self.hung_up = threading.Event()
        self.authorization: list[str | None] = []
        self.url = ""
        self.stop: Callable[[], None]  # from then on new connections are refused

    def said(self) -> Iterator[str]:
        """Word by word."""
        yield from self.words
        while self.endless:
            yield from self.words

    def last_messages(self) -> list[tuple[str, str]]:
        """Role and content of everything in the last request."""
        return [(message["role"], message["content"]) for message in self.bodies[-1]["messages"]]


@contextmanager
def told_upstream() -> Iterator[ToldUpstream]:
    """One that listens."""
    told = ToldUpstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._head("application/json")
            self.wfile.write(b'{"object": "list", "data": [{"id": "told"}]}')

        def do_POST(self) -> None:
            told.authorization.append(self.headers["Authorization"])
            told.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._head("text/event-stream")
            try:
                for word in told.said():
                    self._event({"choices": [{"index": 0, "delta": {"content": word}}]})
                    time.sleep(ENDLESS_S if told.endless else WORD_S)
                self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                self.wfile.write(b"data: [DONE]\n\n")
            except OSError:
                told.hung_up.set()

        def _head(self, content_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.end_headers()

        def _event(self, data: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})

    def stop() -> None:
        told.endless = False
        server.shutdown()
        server.server_close()

    told.stop = stop
    serving.start()
    try:
        yield told
    finally:
        stop()
        serving.join()
