"""The lab as a web page: `cepkit app` serves it with Voila, so that a class needs a browser and nothing else.

Each visitor gets a kernel of their own, and no page asks another machine for anything.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cepkit.learning.data_source import DataSource
from cepkit.validation import check_number

FIRST_PORT, PORTS_TRIED = 8866, 20
DRAWING = "draw"  # in place of a toy: the page on which visitors paint their own
_START_SECONDS, _STOP_SECONDS = 60, 15
_IDLE_SECONDS, _CULL_SECONDS = 3600, 60  # a forgotten page gives its memory back; a closed one does so at once

_LAB_CELL = """from cepkit.learning import DataSource
from cepkit.lab.guidance_lab import GuidanceLab

GuidanceLab(DataSource.from_dict({source!r}).toy())"""
_DRAWING_CELL = """from cepkit.lab import DrawingLab

DrawingLab()"""

# Voila's template links an icon font on a CDN: skip that block (`super.super`), keep what else it holds.
_TEMPLATE = """{%- extends 'voila/templates/lab/index.html.j2' -%}
{% import "spinner.macro.html.j2" as spinner %}
{%- block notebook_css -%}
{{ resources.include_js("static/voila-style.js") }}
{{ spinner.css() }}
{{ super.super() }}
<link rel="stylesheet" href="{{ resources.include_url('static/theme-dark.css') }}" media="(prefers-color-scheme: dark)">
<style>
  :root { color-scheme: light dark; }
  body { background: var(--jp-layout-color0); }
  .jp-mod-noOutputs.jp-mod-noInput { display: none; }
  #rendered_cells { max-width: 1600px; margin: 0 auto; padding: 8px 12px; }
  .jp-OutputPrompt, .jp-OutputArea-prompt { display: none; }
</style>
{%- endblock notebook_css -%}
{%- block body_header -%}
{{ super() }}
<script>
  if (matchMedia("(prefers-color-scheme: dark)").matches) {
    document.body.dataset.jpThemeLight = "false";
    document.body.classList.replace("theme-light", "theme-dark");
  }
</script>
{%- endblock body_header -%}
"""
# What the browser may load: this server and what the page itself made. Holds whatever a later version of Voila links to.
_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; connect-src 'self' ws: wss: blob: data:"


def serve(source: DataSource | None, *, host: str = "127.0.0.1", port: int | None = None, browser: bool = True) -> None:
    """Serve the lab until Ctrl-C or a signal to end.

    Args:
        source: the toy or CSV file to show; None for the page on which visitors draw.
        host: the address to listen at; "0.0.0.0" lets other machines in.
        port: exactly this one; by default 8866 or the next free one.
        browser: open the page here, too.

    Raises:
        ValueError: no Voila, a port that is taken, a toy that is not two-dimensional, or a server that does not start.
    """
    if importlib.util.find_spec("voila") is None:
        raise ValueError("the app needs Voila, which is not installed; add it with: pip install 'cepkit[app]'")
    if source is not None and (dim := source.toy().dim) != 2:
        raise ValueError(f"toy: expected a two-dimensional toy to draw, got {dim} dimensions")
    port = _port(host, port)
    with tempfile.TemporaryDirectory(prefix="cepkit_app_") as name, _endings():
        folder = Path(name)
        command, environment = prepare(folder, source, host, port)
        with (folder / "voila.log").open("w", encoding="utf-8") as log:
            server = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=os.name == "posix",  # Ctrl-C reaches us alone, and we end the server in order
            )
        try:
            _wait_until_open(server, host, port, folder / "voila.log")
            _announce(host, port)
            if browser:
                webbrowser.open(_address(_local(host), port))
            server.wait()
            raise ValueError(f"the server stopped: {_last_line(folder / 'voila.log')}")
        finally:
            _end(server)


def prepare(folder: Path, source: DataSource | None, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Write the notebook and what Voila needs into `folder`; return the command that serves it, and its environment."""
    if source is None:
        title, cell = "Draw your own", _DRAWING_CELL
    else:
        title, cell = f"Guidance lab: {Path(source.name).stem}", _LAB_CELL.format(source=source.to_dict())
    notebook = {
        "cells": [{"cell_type": "code", "id": "lab", "metadata": {}, "execution_count": None, "outputs": [], "source": cell}],
        "metadata": {"kernelspec": {"name": "cepkit", "display_name": "cepkit", "language": "python"}, "title": title},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    # this very interpreter, whatever kernels the machine has registered
    kernel = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "cepkit",
        "language": "python",
    }
    data = folder / "share"
    _write(folder / "lab.ipynb", json.dumps(notebook))
    _write(data / "kernels" / "cepkit" / "kernel.json", json.dumps(kernel))
    _write(data / "voila" / "templates" / "cepkit" / "conf.json", json.dumps({"base_template": "lab"}))
    _write(data / "voila" / "templates" / "cepkit" / "index.html.j2", _TEMPLATE)
    settings = {
        "Voila": {
            "ip": host,
            "port": port,
            "port_retries": 0,
            "log_level": "WARN",
            "connection_dir_root": str(folder),
            # a page that closes says so without a token, and would be refused; only its own kernel's random name ends that one
            "tornado_settings": {"headers": {"Content-Security-Policy": _POLICY}, "disable_check_xsrf": True},
        },
        "VoilaConfiguration": {"template": "cepkit", "strip_sources": True, "preheat_kernel": False},
        "MappingKernelManager": {"cull_idle_timeout": _IDLE_SECONDS, "cull_interval": _CULL_SECONDS, "cull_connected": True},
    }
    _write(folder / "voila.json", json.dumps(settings))  # in the server's folder, so read before anyone's own settings
    before = os.environ.get("JUPYTER_PATH")
    environment = {"OMP_NUM_THREADS": "1"} | os.environ  # many visitors share the cores
    environment["JUPYTER_PATH"] = str(data) if not before else os.pathsep.join([str(data), before])
    return [sys.executable, "-m", "voila", "lab.ipynb", "--no-browser"], environment


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _port(host: str, port: int | None) -> int:
    if port is not None:
        port = check_number(port, name="port", low=1, high=65535, integer=True)
        if not _is_free(host, port):
            raise ValueError(f"port: expected a free port, got {port}, which is in use")
        return port
    for candidate in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        if _is_free(host, candidate):
            return candidate
    raise ValueError(f"port: expected one free port from {FIRST_PORT} to {candidate}, got none; choose one with --port")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        if os.name == "posix":  # as the server does: a port whose last connection is just closing counts as free
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise ValueError(f"host: expected an address of this machine, got {host!r}") from error
            if error.errno == errno.EACCES:
                raise ValueError(f"port: expected one that may be opened here, got {port}") from error
            return False
    return True


def _local(host: str) -> str:
    """Where this machine itself finds a server that listens at `host`."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _announce(host: str, port: int) -> None:
    print(f"The lab is open at {_address(_local(host), port)}", flush=True)
    if _local(host) != host and (outside := _outside()):
        print(f"On other machines of this network: {_address(outside, port)}", flush=True)
    print("Each visitor has a kernel of their own. Ctrl-C ends it.", flush=True)


def _outside() -> str | None:
    """This machine's address in its network; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address that is reserved for documentation
            return probe.getsockname()[0]
        except OSError:
            return None


def _wait_until_open(server: subprocess.Popen, host: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((_local(host), port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise ValueError(f"the server did not start: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"


@contextmanager
def _endings() -> Iterator[None]:
    """A signal to end, or the closing of the terminal, ends in order as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(server: subprocess.Popen) -> None:
    """Let the server shut its kernels down, and wait for it; it is killed only if it hangs."""
    server.terminate()
    try:
        server.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
