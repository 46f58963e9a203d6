"""What was logged is what is read, also from a file that is still being written, and after a killed sitting."""

from __future__ import annotations

import pytest

from cepkit.learning.log import EventLog, read_log


def write(folder, after, values):
    with EventLog(folder, after) as log:
        for step, value in values.items():
            log.add("loss/critic", value, step)


def test_values_come_back_by_name_and_step(tmp_path):
    with EventLog(tmp_path, 0) as log:
        for step in (25, 50):
            log.add("loss/critic", 0.5 * step, step)
            log.add("loss/energy", -1.0, step)
    found = read_log(tmp_path)
    assert found == {"loss/critic": ([25, 50], [12.5, 25.0]), "loss/energy": ([25, 50], [-1.0, -1.0])}


def test_nothing_logged_is_nothing(tmp_path):
    assert read_log(tmp_path) == {} and read_log(tmp_path / "absent") == {}
    with EventLog(tmp_path, 0):
        pass
    assert read_log(tmp_path) == {}


def test_what_a_killed_sitting_noted_beyond_its_last_save_does_not_count(tmp_path):
    write(tmp_path, 0, {10: 1.0, 20: 2.0, 30: 3.0, 40: 4.0})
    write(tmp_path, 20, {30: 30.0})
    assert read_log(tmp_path)["loss/critic"] == ([10, 20, 30], [1.0, 2.0, 30.0])


def test_a_record_in_the_making_ends_the_reading(tmp_path):
    write(tmp_path, 0, {10: 1.0, 20: 2.0})
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for cut in (1, 5, 20):
        path.write_bytes(whole[:-cut])
        assert read_log(tmp_path)["loss/critic"] == ([10], [1.0])


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "events.out.tfevents.1").mkdir()
    with pytest.raises(ValueError, match=r"events\.out\.tfevents\.1: expected an event log, got a folder"):
        read_log(tmp_path)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "events.out.tfevents.1.x").write_bytes(b"\x03" + 11 * b"\0" + b"\xff\xff\xff" + 4 * b"\0")
    with pytest.raises(ValueError, match=r"events.out.tfevents.1.x: expected an event log"):
        read_log(tmp_path)
