"""`cepkit app`: the lab as a web page, served by Voila on this machine, so that a class needs a browser and nothing else.

Each visitor gets a kernel of their own, and no page asks another machine for anything. The folder `jupyter` beside this file
holds Voila's template and the kernel, which is the interpreter that serves.
"""

import json
import os
import signal
import socket
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from cepkit.commands.options import optional

_HOST, _PORT = "127.0.0.1", 8866
_DRAWING = "draw"  # in place of a toy: the page on which visitors paint their own
_LAB = "from cepkit.lab import GuidanceLab\nfrom cepkit.learning import DataSource\nGuidanceLab(DataSource.from_dict({}).toy())"
_DRAWING_LAB = "from cepkit.lab import DrawingLab\nDrawingLab()"
# What the browser may load: this server and what the page itself made. Holds whatever a later version of Voila links to.
_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; connect-src 'self' ws: wss: blob: data:"
_SETTINGS = {
    "Voila": {
        "ip": _HOST,
        "port_retries": 0,
        "open_browser": True,
        "log_level": "ERROR",
        "config_file_paths": [],  # nobody's own settings
        # a page that closes says so without a token, and would be refused; only a kernel's random name ends that kernel
        "tornado_settings": {"headers": {"Content-Security-Policy": _POLICY}, "disable_check_xsrf": True},
    },
    "VoilaConfiguration": {"template": "cepkit", "strip_sources": True, "preheat_kernel": False},
    # a forgotten page gives its memory back after an hour; a closed one does so at once
    "MappingKernelManager": {"cull_idle_timeout": 3600, "cull_interval": 60, "cull_connected": True},
}


def app(
    toy: Annotated[Positional[str], arg(metavar="[TOY]")] = "8gaussians",
    std: float = 0.0,
    standardize: bool = False,
    port: optional(int, "N", "8866 or, where that is taken, a free one") = None,
    no_browser: bool = False,
) -> None:
    """Serve the lab until Ctrl-C or a signal to end.

    Args:
        toy: a toy's name, a CSV file, or draw: visitors paint their own
        std: blur of the points of a CSV file
        standardize: scale the columns of a CSV file in any case, not only where it is needed
        port: exactly this one
        no_browser: do not open a browser here
    """
    try:
        from traitlets.config import Config
        from voila.app import Voila
    except ImportError as error:
        raise ValueError("the app needs Voila, which is not installed; add it with: pip install 'cepkit[app]'") from error
    notebook, port = _notebook(toy, std, standardize), _free_port(port)

    class Server(Voila):
        def launch_browser(self) -> None:  # called once the server listens
            url = f"http://{_HOST}:{port}"
            print(f"The lab is open at {url}\nEach visitor has a kernel of their own. Ctrl-C ends it.", flush=True)
            if not no_browser:
                webbrowser.open(url)

    for name in {"SIGTERM", "SIGHUP"} & set(dir(signal)):
        signal.signal(getattr(signal, name), signal.default_int_handler)
    folders = [str(Path(__file__).with_name("jupyter")), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(folders)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # many visitors share the cores
    with tempfile.TemporaryDirectory(prefix="cepkit_app_") as folder:
        path = Path(folder) / "lab.ipynb"
        path.write_text(json.dumps(notebook), encoding="utf-8")
        server = Server(config=Config(_SETTINGS), port=port, notebook_path=str(path), connection_dir_root=folder)
        server.initialize([])
        server.start()  # returns after Ctrl-C or a signal, when the kernels have ended
    raise KeyboardInterrupt


def _notebook(toy: str, std: float, standardize: bool) -> dict[str, object]:
    """A notebook of one cell, which shows the lab."""
    from cepkit.learning.data_source import DataSource

    title, cell = "Draw your own", _DRAWING_LAB
    if toy != _DRAWING:
        source = DataSource(toy, std=std, standardize=standardize)
        if (dim := source.toy().dim) != 2:
            raise ValueError(f"toy: expected a two-dimensional toy to draw, got {dim} dimensions")
        title, cell = f"Guidance lab: {Path(toy).stem}", _LAB.format(source.to_dict())
    return {
        "cells": [{"cell_type": "code", "id": "lab", "metadata": {}, "execution_count": None, "outputs": [], "source": cell}],
        "metadata": {"kernelspec": {"name": "cepkit", "display_name": "cepkit", "language": "python"}, "title": title},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _free_port(port: int | None) -> int:
    for candidate in (_PORT, 0) if port is None else (port,):
        with socket.socket() as listener:
            if os.name == "posix":  # as the server does: a port whose last connection is just closing counts as free
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((_HOST, candidate))
                return listener.getsockname()[1]
            except (OSError, OverflowError):
                continue
    raise ValueError(f"port: expected a free port of this machine, got {port}")
