"""Downloads from a host on this machine that fails in every way a host can, and checksums that are compared ever after."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import resource
import signal
import socket
import sys

import numpy as np
import pytest
from dataset_files import Host

from cepkit.rl.data import downloads
from cepkit.rl.data.downloads import check_recorded, download, read_record, record_path, sha256_of, write_record

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "file.hdf5"


def whole_only(path):
    if path.stat().st_size != len(CONTENT):
        raise ValueError(f"{path}: cut short")


def left(path):
    """What else lies in the folder."""
    return [other.name for other in path.parent.iterdir() if other != path]


def test_a_file_arrives_whole_and_is_not_there_before_it_is_checked(path):
    def check(part):
        assert part.read_bytes() == CONTENT and not path.exists()

    with Host({"/file": CONTENT}).serving() as address:
        assert download([f"{address}/file"], path, check=check) == f"{address}/file"
    assert path.read_bytes() == CONTENT and left(path) == []


@pytest.mark.parametrize("fault", [("cut", 100_000), ("short", 77), ("status", 503)])
def test_after_a_bad_host_the_next_one_is_asked(path, fault):
    bad, good = Host({"/file": CONTENT}, faults=[fault]), Host({"/file": CONTENT})
    with bad.serving() as first, good.serving() as second:
        assert download([f"{first}/file", f"{second}/file"], path, check=whole_only) == f"{second}/file"
    assert path.read_bytes() == CONTENT and left(path) == []


def test_a_page_in_the_place_of_the_file_is_refused_and_what_was_there_stays(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"before")
    with Host({"/file": b"<html>busy</html>"}).serving() as address:
        with pytest.raises(ConnectionError, match=rf"{address}/file: sent something else \(cut short\)"):
            download([f"{address}/file"], path, check=whole_only)
    assert left(path) == [] and path.read_bytes() == b"before"


def test_when_all_hosts_are_down_each_is_named_and_so_is_the_place_for_the_file(path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/file"
        with Host({}).serving() as address, pytest.raises(ConnectionError) as error:
            download([closed, f"{address}/file"], path, check=whole_only)
    message = str(error.value)
    assert "file.hdf5 could not be downloaded" in message and f"{closed}: " in message and "Connection refused" in message
    assert f"{address}/file: 404" in message and message.endswith(f"Get it by other means and save it as {path}")


def test_a_host_that_does_not_answer_is_given_up_after_the_timeout(path):
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ConnectionError, match="timed out"):
        download([f"http://127.0.0.1:{silent.getsockname()[1]}/file"], path, check=whole_only, timeout=0.1)


@pytest.mark.parametrize("place", ["file:///etc/hosts", "ftp://127.0.0.1/file", "http://example.org/file", "gopher:x", "//[/"])
def test_a_host_that_leads_elsewhere_is_not_followed(path, place):
    with Host({"/file": CONTENT}, faults=[("redirect", place)]).serving() as address:
        with pytest.raises(ConnectionError, match="could not be downloaded:\n  .*/file: "):
            download([f"{address}/file"], path, check=whole_only)
    assert left(path) == [] and not path.exists()


def test_a_host_may_lead_on_to_its_own_file(path):
    with Host({"/file": CONTENT}, faults=[("redirect", "file")]).serving() as address:
        assert download([f"{address}/old"], path, check=whole_only) == f"{address}/old"
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("fault", [("endless", 0), ("bomb", 0)])
def test_a_stream_without_end_ends(path, monkeypatch, fault):
    """Also where gzip makes little of much on the way."""
    monkeypatch.setattr(downloads, "LARGEST", 1e6)
    with Host({"/file": CONTENT}, faults=[fault]).serving() as address:
        with pytest.raises(ConnectionError, match="expected at most 0.001 GB, got more"):
            download([f"{address}/file"], path, check=whole_only)
    assert left(path) == [] and not path.exists()


@pytest.mark.parametrize("fault", [("garbage", 0), ("length", 0), ("broken gzip", 0)])
def test_a_host_that_speaks_no_http_is_named(path, fault):
    with Host({"/file": CONTENT}, faults=[fault]).serving() as address:
        with pytest.raises(ConnectionError, match=f"could not be downloaded:\n  {address}/file: "):
            download([f"{address}/file"], path, check=whole_only)
    assert left(path) == [] and not path.exists()


def test_progress_is_shown_on_a_terminal_alone(path, capsys, monkeypatch):
    with Host({"/file": CONTENT}).serving() as address:
        download([f"{address}/file"], path, check=whole_only)
        assert capsys.readouterr().err == ""
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stderr", terminal)
        download([f"{address}/file"], path, check=whole_only)
    assert "100%" in terminal.getvalue() and "300k/300k" in terminal.getvalue()


def test_an_interruption_leaves_nothing(path):
    def interrupt(_):
        raise KeyboardInterrupt

    with Host({"/file": CONTENT}).serving() as address, pytest.raises(KeyboardInterrupt):
        download([f"{address}/file"], path, check=interrupt)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["file:///etc/hosts", "ftp://host/file", "hopper.hdf5", "http://example.org/file", "https://", "https://["]
)
def test_other_kinds_of_addresses_are_refused(path, url):
    with pytest.raises(ValueError, match="urls: expected addresses that begin with https://"):
        download([url], path, check=whole_only)


# -- this machine's faults ---------------------------------------------------------------------------------------------


def test_a_full_disk_is_named_and_no_other_host_is_asked(path):
    """A limit on the size of files stands in for the disk."""
    host, before = Host({"/file": CONTENT}), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with host.serving() as address, pytest.raises(OSError, match=f"could not write {path}: File too large") as error:
            download([f"{address}/file", f"{address}/file"], path, check=whole_only)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG and list(path.parent.iterdir()) == [] and len(host.asked) == 1


def test_a_disk_that_is_full_says_so(path):
    def full(part):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Host({"/file": CONTENT}).serving() as address, pytest.raises(OSError, match="the disk is full; free some space"):
        download([f"{address}/file"], path, check=full)


def test_a_folder_that_cannot_be_is_named_and_no_host_is_asked(tmp_path):
    (tmp_path / "taken").write_text("")
    host = Host({"/file": CONTENT})
    with host.serving() as address, pytest.raises(OSError, match=f"could not write {tmp_path / 'taken' / 'file'}: "):
        download([f"{address}/file"], tmp_path / "taken" / "file", check=whole_only)
    assert host.asked == []


# -- checksums ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "data.hdf5"
    path.write_bytes(b"content")
    return path


def test_the_first_use_records_and_the_next_compares(kept):
    assert read_record(kept) is None
    first = write_record(kept, "https://host/data.hdf5")
    assert first.sha256 == hashlib.sha256(b"content").hexdigest() == sha256_of(kept) and first.bytes == 7
    assert json.loads((kept.parent / "data.hdf5.json").read_text())["source"] == "https://host/data.hdf5"
    assert check_recorded(kept) == first == read_record(kept)


def test_a_changed_file_is_refused_with_both_checksums_until_its_record_goes(kept):
    first = check_recorded(kept)
    kept.write_bytes(b"Content")
    changed = f"{kept}: the file has changed: expected SHA-256 {first.sha256} .recorded on 20"
    with pytest.raises(ValueError, match=changed) as error:
        check_recorded(kept)
    assert sha256_of(kept) in str(error.value) and "if you changed it on purpose, remove data.hdf5.json" in str(error.value)
    assert read_record(kept) == first
    record_path(kept).unlink()
    assert check_recorded(kept).sha256 != first.sha256


@pytest.mark.parametrize(
    "content", ["", "null", "[]", '{"sha": "1"}', '{"sha256": "1"}', '{"sha256": 1, "bytes": 7, "source": "", "recorded": ""}']
)
def test_a_record_that_does_not_read_is_refused_by_name(kept, content):
    record_path(kept).write_text(content)
    with pytest.raises(ValueError, match="data.hdf5.json: (sha256: )?expected "):
        check_recorded(kept)


def test_a_folder_that_cannot_be_written_costs_a_warning(kept):
    (kept.parent / ".data.hdf5.json.partial").mkdir()  # in the way of the record
    with pytest.warns(UserWarning, match="data.hdf5: its checksum could not be recorded, so later changes go unseen"):
        assert check_recorded(kept).sha256 == sha256_of(kept)
