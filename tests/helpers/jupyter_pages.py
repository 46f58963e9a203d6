"""Driving JupyterLab as a person would."""

import json
import urllib.error
import urllib.request


def run_all(page, url, notebook) -> None:
    """Open a notebook of the course and choose Run, Run All Cells."""
    page.goto(f"{url}/lab/tree/notebooks/{notebook}.ipynb?reset", timeout=60_000)
    page.locator(".jp-Notebook").first.wait_for(timeout=60_000)
    _wait_for_kernel(page, url, notebook)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def write_notebook(url, notebook, *cells) -> None:
    """Put a notebook with these code cells beside those of the course."""
    code = [
        {"cell_type": "code", "id": f"cell-{k}", "source": cell, "metadata": {}, "outputs": [], "execution_count": None}
        for k, cell in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": code, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    body = json.dumps({"type": "notebook", "content": content}).encode()
    request = urllib.request.Request(f"{url}/api/contents/notebooks/{notebook}.ipynb", data=body, method="PUT")
    urllib.request.urlopen(request, timeout=30).close()


def choose_theme(url, theme) -> None:
    """Set JupyterLab's theme, "light" or "dark", for pages opened from now on."""
    body = json.dumps({"raw": json.dumps({"theme": f"JupyterLab {theme.title()}"})}).encode()
    request = urllib.request.Request(f"{url}/lab/api/settings/@jupyterlab/apputils-extension:themes", data=body, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def stop_kernel(url, notebook) -> None:
    """Shut the notebook's kernel down, whatever it is doing; other notebooks keep theirs."""
    session = _session(url, notebook)
    if session is not None:
        request = urllib.request.Request(f"{url}/api/sessions/{session['id']}", method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()


def _session(url, notebook) -> dict | None:
    try:
        with urllib.request.urlopen(f"{url}/api/sessions", timeout=10) as answer:
            sessions = json.load(answer)
    except urllib.error.HTTPError:  # the server's answer while some kernel is starting or going down
        return None
    return next((session for session in sessions if session["path"].endswith(f"{notebook}.ipynb")), None)


def _wait_for_kernel(page, url, notebook) -> None:
    """Running cells before the kernel is connected makes JupyterLab ask which kernel to use."""
    for _ in range(200):
        session = _session(url, notebook)
        if session and session["kernel"]["execution_state"] == "idle" and session["kernel"]["connections"]:
            break
        page.wait_for_timeout(200)
    page.wait_for_timeout(1000)
