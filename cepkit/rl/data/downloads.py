"""Fetching a file from one of several hosts, so that a bad line, a bad server or a full disk costs nothing that was had.

A download grows in a part file that belongs to its address and is taken up again where it broke (HTTP Range with If-Range, so
that a file which changed on the server starts over). Only a whole file that passes the caller's check takes its place, by
renaming. When no host gives it, the error says where to put the file by hand.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all if the server says
_CHUNK = 1 << 20
_FRUITLESS = 2  # tries in a row that bring no byte before the next host is asked


class _Broken(Exception):
    """This host failed; another may not."""


def download(
    urls: Sequence[str],
    path: Path,
    *,
    check: Callable[[Path], object] = lambda _: None,
    progress: Progress | None = None,
    timeout: float = 30.0,
) -> str:
    """Get `path` from the first of `urls` that gives a file which `check` accepts.

    Args:
        urls: http or https addresses of the same file, in the order to be tried.
        path: where to put it; its folder is made.
        check: raises ValueError for a file that is not what it should be.
        progress: called with the bytes so far and the bytes in all (None if unknown).
        timeout: seconds without an answer after which a host counts as down.

    Returns:
        The address it came from.

    Raises:
        ValueError: an address of another kind.
        OSError: the folder cannot be written, the disk is full, or no host gave the file; what had come is kept for next time.
    """
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"urls: expected addresses that begin with http:// or https://, got {url!r}")
    make_folder(path)
    failures = []
    for url in urls:
        part = _part(path, url)
        try:
            _whole(url, part, progress, timeout)
            _accept(check, part)
        except _Broken as failure:
            failures.append(f"{url}: {failure}")
            continue
        with _disk(path):
            os.replace(part, path)
            for other in urls:
                _forget(_part(path, other))
        return url
    told = "\n".join(f"  {failure}" for failure in failures)
    raise ConnectionError(f"{path.name} could not be downloaded:\n{told}\nGet it by other means and save it as {path}")


def make_folder(path: Path) -> None:
    """Make the folder of a file.

    Raises:
        OSError: it cannot be; the message names the file.
    """
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def _part(path: Path, url: str) -> Path:
    return path.with_name(f".{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold a folder, so that runs started together do not write one part file together; says so on stderr when it waits.

    Only a courtesy: where the system cannot lock a folder (Windows, some network disks), nothing is held.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another download into {folder}", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


def progress_line(every: float = 0.2) -> Progress | None:
    """Percent and time left on one line of a terminal; None where stderr is no terminal and nobody would see it."""
    if not sys.stderr.isatty():
        return None
    start, shown, first = time.monotonic(), 0.0, None

    def show(have: int, total: int | None) -> None:
        nonlocal shown, first
        now = time.monotonic()
        first = have if first is None else first
        if now - shown < every and have != total:
            return
        shown = now
        text = f"{have / 1e6:.1f} MB"
        if total:
            left = (total - have) * (now - start) / max(have - first, 1)
            text = f"{100 * have / total:.0f} % of {total / 1e6:.1f} MB, {left:.0f} s left"
        print(f"\r{text:<50}", end="\n" if have == total else "", file=sys.stderr, flush=True)

    return show


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Errors of this machine's disk, in words that name the file; no other host would help."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            kept = "the disk is full; free some space and fetch again, what has come so far is kept"
        else:
            kept = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, f"could not write {path}: {kept}") from error


def _accept(check: Callable[[Path], object], part: Path) -> None:
    try:
        check(part)
    except ValueError as error:
        _forget(part)
        raise _Broken(f"sent something else ({str(error).removeprefix(f'{part}: ')})") from error


def _whole(url: str, part: Path, progress: Progress | None, timeout: float) -> None:
    """Fill the part file until it is whole, going on where the connection broke."""
    fruitless = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _some(url, part, progress, timeout)
            return
        except _Broken:
            after = part.stat().st_size if part.exists() else 0
            fruitless = 0 if after > before else fruitless + 1
            if fruitless >= _FRUITLESS:
                raise


def _some(url: str, part: Path, progress: Progress | None, timeout: float) -> None:
    """One request; returns when the part file is whole."""
    have, validator = _resumable(part)
    request = urllib.request.Request(url, headers={"User-Agent": "cepkit", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", validator)
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # there is nothing beyond what we have: all of it, or another file
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return
            with _disk(part):
                _forget(part)
        raise _Broken(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(str(getattr(error, "reason", error)) or type(error).__name__) from error
    with answer:
        if answer.status != 206:
            have = 0
        elif not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
            with _disk(part):
                _forget(part)
            raise _Broken("answered with another part of the file than was asked for")
        total = _total(answer, have)
        with _disk(part):
            if total is not None and shutil.disk_usage(part.parent).free < total - have:
                raise OSError(errno.ENOSPC, "No space left on device")
            file = part.open("ab" if have else "wb")
            _note(part, answer)  # after the old bytes are gone, so that they can never pass for the new version
        with file:
            have = _copy(answer, file, have, total, progress)
    if total is not None and have < total:
        raise _Broken(f"the connection ended after {have} of {total} bytes")


def _copy(answer: http.client.HTTPResponse, file: BinaryIO, have: int, total: int | None, progress: Progress | None) -> int:
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Broken(f"the connection broke after {have} bytes ({error or type(error).__name__})") from error
        with _disk(Path(file.name)):
            file.write(chunk)
            if not chunk:
                file.flush()
                os.fsync(file.fileno())
                return have
        have += len(chunk)
        if progress is not None:
            progress(have, total)


def _total(answer: http.client.HTTPResponse, have: int) -> int | None:
    """Bytes of the whole file, if the server says."""
    told = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("Content-Range") or "")
    if told:
        return int(told[1])
    length = answer.headers.get("Content-Length") or ""
    return have + int(length) if length.isdigit() else None


def _note(part: Path, answer: http.client.HTTPResponse) -> None:
    """Remember by what the server can tell whether its file is still the same; a weak ETag may not be asked for."""
    etag = answer.headers.get("ETag") or ""
    validator = answer.headers.get("Last-Modified") if etag.startswith("W/") or not etag else etag
    _notes(part).write_text(json.dumps({"validator": validator}), encoding="utf-8")


def _resumable(part: Path) -> tuple[int, str]:
    """Bytes to go on from and the server's validator for them; 0 where nothing can be trusted."""
    try:
        validator = json.loads(_notes(part).read_text(encoding="utf-8"))["validator"]
        return (part.stat().st_size, validator) if isinstance(validator, str) else (0, "")
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""
