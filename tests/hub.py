"""A server of this machine in place of the hub, with the few answers that a hub gives about files."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest


class Served(NamedTuple):
    """The server's address, and the paths it was asked for so far."""

    endpoint: str
    asked: list[str]


@contextlib.contextmanager
def serve_hub(
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    content_of: Callable[[str], bytes | None],
    holds: Callable[[str], bool],
) -> Iterator[Served]:
    """Serve as long as the block runs; the hub's library keeps what it fetches in `cache`.

    Args:
        content_of: path of a URL → the file, or None.
        holds: path of a URL → whether its repository is there.
    """
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            asked.append(self.path)
            content = content_of(self.path)
            self.send_response(200 if content is not None else 404)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound" if holds(self.path) else "RepoNotFound")
            else:
                self.send_header("ETag", f'"{hash(content) & 0xFFFFFFFF:08x}"')
                self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if body and content:
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield Served(f"http://127.0.0.1:{server.server_address[1]}", asked)
    server.shutdown()
    server.server_close()
