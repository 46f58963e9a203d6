"""Downloads from a host on this machine that fails in every way a host can."""

from __future__ import annotations

import errno
import shutil
import socket
import sys
import threading
from collections import namedtuple

import numpy as np
import pytest
from dataset_files import Host

from cepkit.rl.data import downloads
from cepkit.rl.data.downloads import download, one_at_a_time, progress_line

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(downloads, "_CHUNK", 10_000)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "file.hdf5"


def left(path):
    """What else lies in the folder."""
    return sorted(other.name for other in path.parent.iterdir() if other != path)


def ranges(host):
    return [told for _, told in host.asked]


def test_a_file_arrives_whole_and_progress_is_told(path):
    seen = []
    with Host({"/file": CONTENT}).serving() as address:
        assert download([f"{address}/file"], path, progress=lambda *told: seen.append(told)) == f"{address}/file"
    assert path.read_bytes() == CONTENT and left(path) == []
    assert seen[-1] == (300_000, 300_000) and seen == sorted(seen) and len(seen) == 30


@pytest.mark.parametrize("validator", ["Last-Modified", "ETag"])
def test_a_broken_download_goes_on_where_it_broke(path, validator):
    host = Host({"/file": CONTENT}, validator=validator, faults=[("cut", 100_000), ("cut", 50_000)])
    with host.serving() as address:
        download([f"{address}/file"], path)
    assert ranges(host) == [None, "bytes=100000-", "bytes=150000-"] and path.read_bytes() == CONTENT


def test_what_came_before_the_process_died_is_used_by_the_next_one(path):
    host = Host({"/file": CONTENT}, faults=[("cut", 100_000), ("status", 500), ("status", 500)])
    with host.serving() as address:
        with pytest.raises(ConnectionError, match="HTTP 500"):
            download([f"{address}/file"], path)
        assert len(left(path)) == 2 and not path.exists()
        download([f"{address}/file"], path)
    assert ranges(host)[-1] == "bytes=100000-" and path.read_bytes() == CONTENT and left(path) == []


def test_a_file_that_changed_on_the_host_meanwhile_starts_over(path):
    host = Host({"/file": CONTENT}, validator="ETag", faults=[("cut", 100_000), ("status", 500), ("status", 500)])
    with host.serving() as address:
        with pytest.raises(ConnectionError):
            download([f"{address}/file"], path)
        host.files["/file"] = OTHER
        download([f"{address}/file"], path)
    assert ranges(host)[-1] == "bytes=100000-" and path.read_bytes() == OTHER


@pytest.mark.parametrize(("can", "validator"), [(False, "Last-Modified"), (True, None)])
def test_a_host_without_range_or_without_a_mark_of_its_version_starts_over(path, can, validator):
    host = Host({"/file": CONTENT}, ranges=can, validator=validator, faults=[("cut", 100_000)])
    with host.serving() as address:
        download([f"{address}/file"], path)
    assert path.read_bytes() == CONTENT and ranges(host) == [None, None if validator is None else "bytes=100000-"]


def test_a_host_that_always_breaks_at_the_same_place_is_given_up(path):
    host = Host({"/file": CONTENT}, ranges=False, faults=[("cut", 100_000)] * 9)
    with host.serving() as address, pytest.raises(ConnectionError, match="the connection (ended|broke) after 100000"):
        download([f"{address}/file"], path)
    assert len(host.asked) == 3


def test_a_length_that_claims_too_much_is_found_out_by_asking_for_the_rest(path):
    host = Host({"/file": CONTENT}, faults=[("length", 77)])
    with host.serving() as address:
        download([f"{address}/file"], path)
    assert ranges(host) == [None, "bytes=300000-"] and path.read_bytes() == CONTENT


def whole_only(path):
    if path.stat().st_size != len(CONTENT):
        raise ValueError(f"{path}: cut short")


def test_a_length_that_claims_too_little_is_refused_by_the_check_and_the_next_host_asked(path):
    good, bad = Host({"/file": CONTENT}), Host({"/file": CONTENT}, faults=[("short", 77)])
    with bad.serving() as first, good.serving() as second:
        assert download([f"{first}/file", f"{second}/file"], path, check=whole_only) == f"{second}/file"
    assert path.read_bytes() == CONTENT and left(path) == []


def test_a_page_in_the_place_of_the_file_is_refused_and_forgotten(path):
    with Host({"/file": b"<html>busy</html>"}).serving() as address:
        with pytest.raises(ConnectionError, match=rf"{address}/file: sent something else \(cut short\)"):
            download([f"{address}/file"], path, check=whole_only)
    assert left(path) == [] and not path.exists()


def test_parts_of_different_hosts_are_not_mixed(path):
    """The first host breaks for good after a third of its own version; the second sends its own from the start."""
    bad = Host({"/file": OTHER}, faults=[("cut", 100_000), ("status", 503), ("status", 503)])
    good = Host({"/file": CONTENT})
    with bad.serving() as first, good.serving() as second:
        download([f"{first}/file", f"{second}/file"], path)
    assert ranges(good) == [None] and path.read_bytes() == CONTENT and left(path) == []


def test_when_all_hosts_are_down_each_is_named_and_so_is_the_place_for_the_file(path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/file"
        with Host({}).serving() as address, pytest.raises(ConnectionError) as error:
            download([closed, f"{address}/file"], path)
    told = str(error.value)
    assert "file.hdf5 could not be downloaded" in told and f"{closed}: [Errno 111] Connection refused" in told
    assert f"{address}/file: HTTP 404" in told and told.endswith(f"Get it by other means and save it as {path}")


def test_a_host_that_does_not_answer_is_given_up_after_the_timeout(path):
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ConnectionError, match="timed out"):
        download([f"http://127.0.0.1:{silent.getsockname()[1]}/file"], path, timeout=0.1)


def test_a_whole_part_that_was_only_not_renamed_is_not_fetched_again(path, monkeypatch):
    host = Host({"/file": CONTENT})
    with host.serving() as address:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(downloads.os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            download([f"{address}/file"], path)
        download([f"{address}/file"], path)
    assert ranges(host) == [None, "bytes=300000-"] and path.read_bytes() == CONTENT


def test_progress_is_one_line_of_a_terminal(capsys, monkeypatch):
    assert progress_line() is None, "captured output is no terminal"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    show = progress_line(every=0.0)
    for have in (10**6, 2 * 10**6, 4 * 10**6):
        show(have, 4 * 10**6)
    out = capsys.readouterr().err
    assert "\r25 % of 4.0 MB" in out and "\r50 % of 4.0 MB" in out and out.endswith("\n") and out.count("\n") == 1
    show(5 * 10**6, None)
    assert "\r5.0 MB" in capsys.readouterr().err


def test_runs_that_start_together_take_turns(tmp_path, capsys):
    order = []

    def second():
        with one_at_a_time(tmp_path):
            order.append("second")

    with one_at_a_time(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"] and capsys.readouterr().err == f"Waiting for another download into {tmp_path}\n"


# -- this machine's faults ---------------------------------------------------------------------------------------------


def test_a_disk_without_room_is_told_before_anything_is_written(path, monkeypatch):
    room = namedtuple("room", "total used free")(10**6, 10**6, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    host = Host({"/file": CONTENT})
    with (
        host.serving() as address,
        pytest.raises(OSError, match=r"could not write .*: the disk is full; free some space") as error,
    ):
        download([f"{address}/file", f"{address}/again"], path)
    assert error.value.errno == errno.ENOSPC and left(path) == [] and len(host.asked) == 1


def test_a_disk_that_fills_on_the_way_keeps_what_came(path, monkeypatch):
    real, written = downloads._copy, []

    class Full:
        def __init__(self, file):
            self.file, self.name, self.flush, self.fileno = file, file.name, file.flush, file.fileno

        def write(self, chunk):
            if len(written) == 7:
                raise OSError(errno.ENOSPC, "No space left on device")
            written.append(self.file.write(chunk))

    host = Host({"/file": CONTENT})
    with host.serving() as address:
        with monkeypatch.context() as patch, pytest.raises(OSError, match="the disk is full; free some space and fetch again"):
            patch.setattr(downloads, "_copy", lambda answer, file, *rest: real(answer, Full(file), *rest))
            download([f"{address}/file"], path)
        download([f"{address}/file"], path)
    assert ranges(host) == [None, "bytes=70000-"] and path.read_bytes() == CONTENT


def test_a_folder_that_cannot_be_is_named_and_no_host_is_asked(tmp_path):
    (tmp_path / "taken").write_text("")
    host = Host({"/file": CONTENT})
    with host.serving() as address, pytest.raises(OSError, match=f"could not write {tmp_path / 'taken' / 'file'}: "):
        download([f"{address}/file"], tmp_path / "taken" / "file")
    assert host.asked == []


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://host/file", "hopper.hdf5"])
def test_other_kinds_of_addresses_are_refused(path, url):
    with pytest.raises(ValueError, match="urls: expected addresses that begin with http:// or https://"):
        download([url], path)
