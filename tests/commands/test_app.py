"""The web app: how it starts and ends, and what it refuses; the page itself is for the browser tests."""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cepkit.commands.cli import main

WINE = Path(__file__).parents[2] / "data" / "wine.csv"
needs_voila = pytest.mark.skipif(importlib.util.find_spec("voila") is None, reason="the app (pip install -e '.[app]')")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["moon"], "toy: expected one of 8gaussians"),
        (["nowhere.csv"], "x: expected a readable CSV file"),
        (["moons", "--std", "0.2"], "std: expected 0"),
        (["moons", "--port", "70000"], "port: expected a free port of this machine, got 70000"),
    ],
)
@needs_voila
def test_a_mistake_is_one_line_and_exit_code_2(capsys, arguments, complaint):
    assert main(["app", *arguments, "--no-browser"]) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1


@needs_voila
def test_points_that_are_not_two_dimensional_are_refused(capsys, tmp_path):
    (tmp_path / "points.csv").write_text("1,2,3,0\n2,3,4,1\n")
    assert main(["app", str(tmp_path / "points.csv"), "--no-browser"]) == 2
    assert "toy: expected a two-dimensional toy to draw, got 3 dimensions" in capsys.readouterr().err


def test_without_voila_the_message_names_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "voila.app", None)
    assert main(["app", "moons", "--no-browser"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'cepkit[app]'" in error and error.count("\n") == 1


@needs_voila
def test_a_port_that_is_taken_is_refused(capsys):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert main(["app", "moons", "--no-browser", "--port", str(port)]) == 2
    assert f"port: expected a free port of this machine, got {port}" in capsys.readouterr().err


@needs_voila
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    ("toy", "title", "ending"),
    [
        (["moons"], "Guidance lab: moons", "SIGINT"),
        pytest.param(["draw"], "Draw your own", "SIGTERM", marks=pytest.mark.slow),
        pytest.param(["wine.csv", "--std", "0.2", "--standardize"], "Guidance lab: wine", "SIGHUP", marks=pytest.mark.slow),
    ],
)
def test_it_finds_a_free_port_serves_a_page_and_ends_in_order_leaving_nothing(tmp_path, toy, title, ending):
    command = [sys.executable, "-m", "cepkit", "app", *toy, "--no-browser"]
    environment = {"PYTHONPATH": str(WINE.parents[1])} | os.environ | {"TMPDIR": str(tmp_path)}
    # a shell starts what it puts in the background deaf to Ctrl-C, and children inherit that
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    settings = {"cwd": WINE.parent, "env": environment, "preexec_fn": listening, "text": True}
    with socket.socket() as usual, subprocess.Popen(command, stdout=-1, stderr=-1, **settings) as process:
        usual.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        usual.bind(("127.0.0.1", 8866))
        usual.listen()
        try:
            address = process.stdout.readline().split()[-1]
            assert address.startswith("http://127.0.0.1:") and not address.endswith(":8866")
            with urllib.request.urlopen(address, timeout=60) as response:
                policy, page = response.headers["Content-Security-Policy"], response.read().decode()
            assert f"<title>{title}</title>" in page and "Traceback" not in page and "from cepkit" not in page
            assert policy.startswith("default-src 'self'") and "http" not in policy
            for name in ("/../../../../etc/passwd", "/voila/files/..%2f..%2f..%2fetc%2fpasswd", "/static/..%2f..%2fetc/passwd"):
                with pytest.raises(urllib.error.HTTPError, match="40"):
                    urllib.request.urlopen(address + name, timeout=60)
            process.send_signal(getattr(signal, ending))
            _, error = process.communicate(timeout=30)
        finally:
            process.terminate()  # not killed: it has kernels to end
    *refusals, last = error.splitlines()
    assert process.returncode == 130 and last == "cepkit: stopped" and all(line.startswith("403 GET") for line in refusals)
    assert list(tmp_path.iterdir()) == []
