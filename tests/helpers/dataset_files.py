"""Small files in D4RL's schema, and hosts on this machine that serve bytes well or badly."""

from __future__ import annotations

import contextlib
import re
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


class Host:
    """A web server in a thread. `files` maps paths to bytes; what `faults` says is done once per entry, in order.

    Faults: ("cut", n) ends the connection after n bytes of the body; ("length", n) claims n bytes more than it sends;
    ("short", n) claims and sends n bytes less; ("status", code).
    """

    def __init__(self, files, *, ranges=True, validator="Last-Modified", faults=()):
        self.files, self.ranges, self.validator, self.faults = files, ranges, validator, list(faults)
        self.asked = []  # (path, Range header) of every request

    def answer(self, handler):
        self.asked.append((handler.path, handler.headers.get("Range")))
        fault, number = self.faults.pop(0) if self.faults else (None, 0)
        body = self.files.get(handler.path)
        if body is None or fault == "status":
            handler.send_error(number or 404)
            return
        start, stamp = 0, self.stamp(body)
        told = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
        if told and self.ranges and handler.headers.get("If-Range") in (None, stamp):
            start = int(told[1])
            if start >= len(body):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(body)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            handler.send_response(200)
        rest = body[start:]
        if fault == "short":
            rest = rest[:-number]
        handler.send_header("Content-Length", str(len(rest) + (number if fault == "length" else 0)))
        if self.validator:
            handler.send_header(self.validator, stamp)
        handler.end_headers()
        handler.wfile.write(rest[:number] if fault == "cut" else rest)
        handler.close_connection = True

    def stamp(self, body):
        return f'"{hash(body)}"' if self.validator == "ETag" else f"Wed, 25 Nov 2020 09:{hash(body) % 60:02d}:00 GMT"

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
