"""A checksum is recorded on first use and compared ever after."""

from __future__ import annotations

import hashlib
import json

import pytest

from cepkit.rl.data import checksums
from cepkit.rl.data.checksums import check_recorded, read_record, record_path, sha256_of, write_record


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "data.hdf5"
    path.write_bytes(b"content")
    return path


def test_the_first_use_records_and_the_next_compares(path):
    assert read_record(path) is None
    first = check_recorded(path, source="http://host/data.hdf5")
    assert first.sha256 == hashlib.sha256(b"content").hexdigest() == sha256_of(path) and first.bytes == 7
    assert json.loads((path.parent / "data.hdf5.json").read_text())["source"] == "http://host/data.hdf5"
    assert check_recorded(path, source="elsewhere") == first == read_record(path)


def test_a_changed_file_is_refused_with_both_checksums_until_its_record_goes(path):
    first = check_recorded(path)
    path.write_bytes(b"Content")
    with pytest.raises(
        ValueError, match=f"{path}: the file has changed: expected SHA-256 {first.sha256} .recorded on 20"
    ) as error:
        check_recorded(path)
    assert sha256_of(path) in str(error.value) and "if you changed it on purpose, remove data.hdf5.json" in str(error.value)
    assert read_record(path) == first
    record_path(path).unlink()
    assert check_recorded(path).sha256 != first.sha256


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha": "1"}', '{"sha256": "1"}'])
def test_a_record_that_does_not_read_is_refused_by_name(path, content):
    record_path(path).write_text(content)
    with pytest.raises(ValueError, match="data.hdf5.json: expected the record of a checksum"):
        check_recorded(path)


def test_a_folder_that_cannot_be_written_costs_a_warning_on_use_and_an_error_on_recording(path, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(checksums, "write_atomically", refuse)
    with pytest.warns(UserWarning, match="data.hdf5: its checksum could not be recorded, so later changes go unseen"):
        assert check_recorded(path).sha256 == sha256_of(path)
    with pytest.raises(OSError, match="Read-only"):
        write_record(path, "here")
