"""Driving JupyterLab as a person would."""

import json
import urllib.request


def run_all(page, url, notebook) -> None:
    """Open a notebook of the course and choose Run, Run All Cells."""
    page.goto(f"{url}/lab/tree/notebooks/{notebook}.ipynb?reset", timeout=60_000)
    page.locator(".jp-Notebook").first.wait_for(timeout=60_000)
    _wait_for_kernel(page, url)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def kernels(url) -> list[dict]:
    with urllib.request.urlopen(f"{url}/api/kernels", timeout=10) as answer:
        return json.load(answer)


def stop_kernels(url) -> None:
    """Shut every kernel down, whatever it is doing."""
    for kernel in kernels(url):
        urllib.request.urlopen(urllib.request.Request(f"{url}/api/kernels/{kernel['id']}", method="DELETE"), timeout=20).close()


def _wait_for_kernel(page, url) -> None:
    """Running cells before the kernel is connected makes JupyterLab ask which kernel to use."""
    for _ in range(200):
        running = kernels(url)
        if running and all(kernel["execution_state"] == "idle" and kernel["connections"] for kernel in running):
            break
        page.wait_for_timeout(200)
    page.wait_for_timeout(1000)
