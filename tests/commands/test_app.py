"""The web app: what it writes for the server, how it starts and ends, and what it refuses; the page is for the browser tests."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from cepkit.commands import app
from cepkit.commands.cli import main
from cepkit.learning import DataSource

WINE = Path(__file__).parents[2] / "data" / "wine.csv"
needs_voila = pytest.mark.skipif(importlib.util.find_spec("voila") is None, reason="the app (pip install -e '.[app]')")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


# -- what the server is given ------------------------------------------------------------------------------------------


def cell_of(folder):
    notebook = json.loads((folder / "lab.ipynb").read_text(encoding="utf-8"))
    assert len(notebook["cells"]) == 1 and notebook["metadata"]["kernelspec"]["name"] == "cepkit"
    return notebook["cells"][0]["source"], notebook["metadata"]["title"]


def test_the_notebook_has_one_cell_that_builds_the_lab(tmp_path):
    app.prepare(tmp_path, DataSource("moons"), "127.0.0.1", 8000)
    source, title = cell_of(tmp_path)
    assert title == "Guidance lab: moons"
    names = {}
    exec(source, names)
    assert "GuidanceLab(DataSource.from_dict(" in source.splitlines()[-1] and names["GuidanceLab"]


def test_a_csv_file_goes_by_its_absolute_path_with_its_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(WINE.parent)
    app.prepare(tmp_path, DataSource("wine.csv", std=0.2, standardize=True), "127.0.0.1", 8000)
    source, title = cell_of(tmp_path)
    assert title == "Guidance lab: wine" and repr(str(WINE)) in source and "'std': 0.2, 'standardize': True" in source


def test_the_page_for_drawing(tmp_path):
    app.prepare(tmp_path, None, "127.0.0.1", 8000)
    source, title = cell_of(tmp_path)
    names = {}
    exec(source, names)
    assert title == "Draw your own" and source.endswith("DrawingLab()") and names["DrawingLab"]


def test_the_server_hides_sources_starts_kernels_on_demand_and_lets_them_go(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "/elsewhere")
    monkeypatch.delenv("OMP_NUM_THREADS")
    command, environment = app.prepare(tmp_path, DataSource("moons"), "0.0.0.0", 8123)
    settings = json.loads((tmp_path / "voila.json").read_text(encoding="utf-8"))
    assert command[:4] == [sys.executable, "-m", "voila", "lab.ipynb"]
    assert (settings["Voila"]["ip"], settings["Voila"]["port"], settings["Voila"]["port_retries"]) == ("0.0.0.0", 8123, 0)
    assert settings["VoilaConfiguration"] == {"template": "cepkit", "strip_sources": True, "preheat_kernel": False}
    assert 0 < settings["MappingKernelManager"]["cull_interval"] < settings["MappingKernelManager"]["cull_idle_timeout"]
    assert environment["JUPYTER_PATH"] == os.pathsep.join([str(tmp_path / "share"), "/elsewhere"])
    assert environment["OMP_NUM_THREADS"] == "1"
    kernel = json.loads((tmp_path / "share" / "kernels" / "cepkit" / "kernel.json").read_text(encoding="utf-8"))
    assert kernel["argv"][0] == sys.executable and kernel["argv"][-1] == "{connection_file}"


def test_the_browser_is_told_to_ask_no_other_machine(tmp_path):
    app.prepare(tmp_path, DataSource("moons"), "127.0.0.1", 8000)
    policy = json.loads((tmp_path / "voila.json").read_text(encoding="utf-8"))["Voila"]["tornado_settings"]["headers"]
    assert policy["Content-Security-Policy"].startswith("default-src 'self'") and "http" not in policy["Content-Security-Policy"]
    template = tmp_path / "share" / "voila" / "templates" / "cepkit" / "index.html.j2"
    assert "http" not in template.read_text(encoding="utf-8")


# -- addresses ---------------------------------------------------------------------------------------------------------


def test_a_port_that_is_asked_for_is_taken_or_refused(taken):
    port = free_port()
    assert app._port("127.0.0.1", port) == port
    with pytest.raises(ValueError, match=f"^port: expected a free port, got {taken}, which is in use"):
        app._port("127.0.0.1", taken)


def test_without_one_the_first_free_port_is_taken(taken, monkeypatch):
    monkeypatch.setattr(app, "FIRST_PORT", taken)
    assert taken < app._port("127.0.0.1", None) <= taken + app.PORTS_TRIED
    monkeypatch.setattr(app, "PORTS_TRIED", 1)
    with pytest.raises(ValueError, match=f"^port: expected one free port from {taken} to {taken}, got none"):
        app._port("127.0.0.1", None)


def test_other_machines_are_told_where_to_look(capsys, monkeypatch):
    app._announce("127.0.0.1", 8866)
    assert capsys.readouterr().out.splitlines()[0] == "The lab is open at http://127.0.0.1:8866"
    monkeypatch.setattr(app, "_outside", lambda: "10.1.2.3")
    app._announce("0.0.0.0", 8866)
    assert "On other machines of this network: http://10.1.2.3:8866" in capsys.readouterr().out
    monkeypatch.setattr(app, "_outside", lambda: None)
    app._announce("::", 8866)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "The lab is open at http://[::1]:8866" and len(lines) == 2


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["moon"], "toy: expected one of 8gaussians"),
        (["nowhere.csv"], "x: expected a readable CSV file"),
        (["moons", "--std", "0.2"], "std: expected 0"),
        (["moons", "--port", "0"], "port: expected an integer in [1, 65535]"),
        (["moons", "--port", "70000"], "port: expected an integer in [1, 65535]"),
        (["moons", "--host", "203.0.113.7"], "host: expected an address of this machine, got '203.0.113.7'"),
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
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None)
    assert main(["app", "moons", "--no-browser"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'cepkit[app]'" in error and error.count("\n") == 1


def test_a_server_that_ends_by_itself_is_said_with_its_last_words(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(app.tempfile, "tempdir", str(tmp_path))
    command = [sys.executable, "-c", "print('no template named cepkit'); raise SystemExit(1)"]
    monkeypatch.setattr(app, "prepare", lambda *_: (command, dict(os.environ)))
    assert main(["app", "moons", "--no-browser", "--port", str(free_port())]) == 2
    assert "the server did not start: no template named cepkit" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@needs_voila
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_it_says_where_it_is_and_ends_in_order_leaving_nothing(tmp_path, ending):
    port = free_port()
    command = [sys.executable, "-m", "cepkit", "app", "moons", "--no-browser", "--port", str(port)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # a shell starts what it puts in the background deaf to Ctrl-C, and children inherit that
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, env=environment, preexec_fn=listening, **pipes) as process:
        try:
            assert process.stdout.readline() == f"The lab is open at http://127.0.0.1:{port}\n"
            static = f"http://127.0.0.1:{port}/voila/static/require.min.js"
            urllib.request.urlopen(static, timeout=20).close()
            process.send_signal(getattr(signal, ending))
            _, error = process.communicate(timeout=30)
        finally:
            process.terminate()  # not killed: it has a server of its own to end
    assert process.returncode == 130 and error == "cepkit: stopped\n"
    assert list(tmp_path.iterdir()) == [] and app._is_free("127.0.0.1", port)
