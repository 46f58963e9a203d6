"""Small files in D4RL's schema, and hosts on this machine that serve bytes well or badly."""

from __future__ import annotations

import contextlib
import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h5py
import numpy as np


def small_raw(n=60, *, episode=20, states=3, actions=2, seed=0):
    """n random rows in episodes of `episode` steps, every second one ended by a terminal."""
    random = np.random.default_rng(seed)
    last = np.arange(n) % episode == episode - 1
    odd = np.arange(n) // episode % 2 == 1
    return {
        "observations": random.standard_normal((n, states)).astype(np.float32),
        "actions": random.uniform(-1, 1, (n, actions)).astype(np.float32),
        "rewards": random.standard_normal(n).astype(np.float32),
        "terminals": last & odd,
        "timeouts": last & ~odd,
    }


def write(path, raw):
    """Write arrays as they are, right or wrong, beside keys that real files have too."""
    with h5py.File(path, "w") as file:
        for key, value in raw.items():
            file[key] = value
        file["infos/qpos"] = np.zeros((5, 2))
        file["metadata/algorithm"] = "SAC"
    return path


def _redirect(handler, place):
    handler.send_response(302)
    handler.send_header("Location", place)
    handler.end_headers()


def _endless(handler, _):
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):  # until the other side has had enough
        while True:
            handler.wfile.write(bytes(1 << 16))


def _sent(body, **headers):
    def send(handler, _):
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(body)

    return send


_ODD = {
    "redirect": _redirect,
    "endless": _endless,
    "bomb": _sent(gzip.compress(bytes(20_000_000)), Content_Encoding="gzip"),
    "broken gzip": _sent(b"no gzip", Content_Encoding="gzip"),
    "length": _sent(b"much", Content_Length="much"),
    "garbage": lambda handler, _: handler.wfile.write(b"\0\1\2 this is no HTTP\r\n\r\n"),
}


class Host:
    """A web server in a thread. `files` maps paths to bytes; `asked` lists the paths of every request.

    `faults` are done once each, in order: ("cut", n) ends the connection after n bytes of the body; ("short", n) claims and sends
    n bytes less; ("status", code); ("redirect", place); and ("endless", 0), ("bomb", 0), ... of `_ODD`.
    """

    def __init__(self, files, *, faults=()):
        self.files, self.faults, self.asked = files, list(faults), []

    def answer(self, handler):
        self.asked.append(handler.path)
        fault, number = self.faults.pop(0) if self.faults else (None, 0)
        if fault in _ODD:
            _ODD[fault](handler, number)
            handler.close_connection = True
            return
        body = self.files.get(handler.path)
        if body is None or fault == "status":
            handler.send_error(number or 404)
            return
        body = body[:-number] if fault == "short" else body
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:number] if fault == "cut" else body)
        handler.close_connection = True

    @contextlib.contextmanager
    def serving(self):
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                host.answer(self)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
