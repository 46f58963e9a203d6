"""Files in D4RL's schema: round trips, and every way a file can be wrong, named by file and key."""

from __future__ import annotations

from types import SimpleNamespace

import h5py
import numpy as np
import psutil
import pytest
from dataset_files import small_raw, write

from cepkit.rl.data.hdf5 import check_raw, read_hdf5, write_hdf5


def test_what_is_written_is_read_back_and_equal_content_is_equal_bytes(tmp_path):
    raw = small_raw()
    for name in ("one.hdf5", "two.hdf5"):
        write_hdf5(tmp_path / name, raw)
    back = read_hdf5(tmp_path / "one.hdf5")
    assert back.keys() == raw.keys()
    assert all(np.array_equal(back[key], raw[key]) and back[key].dtype == raw[key].dtype for key in raw)
    assert (tmp_path / "one.hdf5").read_bytes() == (tmp_path / "two.hdf5").read_bytes()
    with h5py.File(tmp_path / "one.hdf5") as file:
        assert file["observations"].compression == "gzip" and file["observations"].shuffle


def test_a_file_as_others_write_them_is_read(tmp_path):
    raw = small_raw()
    columns = {key: value[:, None] if value.ndim == 1 else value for key, value in raw.items()}
    columns |= {"terminals": raw["terminals"].astype(np.float32), "timeouts": raw["timeouts"].astype(np.uint8)[:, None]}
    back = read_hdf5(write(tmp_path / "theirs.hdf5", columns))
    assert set(back) == set(raw) and all(np.array_equal(back[key], raw[key]) for key in raw)
    del columns["timeouts"]
    assert "timeouts" not in read_hdf5(write(tmp_path / "old.hdf5", columns))


@pytest.mark.parametrize("end", [0, 40, 2000, -1])
def test_a_file_cut_anywhere_is_refused_by_name(tmp_path, end):
    write_hdf5(tmp_path / "whole.hdf5", small_raw(600))
    (tmp_path / "cut.hdf5").write_bytes((tmp_path / "whole.hdf5").read_bytes()[:end])
    with pytest.raises(ValueError, match="cut.hdf5: expected a whole HDF5 file, but it does not read"):
        read_hdf5(tmp_path / "cut.hdf5")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>404</html>", b"\0" * 5000])
def test_a_foreign_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "foreign.hdf5").write_bytes(content)
    with pytest.raises(ValueError, match="foreign.hdf5: expected a whole HDF5 file"):
        read_hdf5(tmp_path / "foreign.hdf5")


def test_a_damaged_block_is_refused(tmp_path):
    write_hdf5(tmp_path / "file.hdf5", small_raw(5000))
    content = bytearray((tmp_path / "file.hdf5").read_bytes())
    third = len(content) // 3
    content[third : third + 2000] = bytes(2000)
    (tmp_path / "file.hdf5").write_bytes(content)
    with pytest.raises(ValueError, match="file.hdf5: expected a whole HDF5 file"):
        read_hdf5(tmp_path / "file.hdf5")


def test_no_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "absent.hdf5", tmp_path):
        with pytest.raises(ValueError, match=f"{path}: expected an HDF5 file in D4RL's schema, found none"):
            read_hdf5(path)


def changed(key, change):
    raw = small_raw()
    raw[key] = change(raw[key])
    return raw


def set_at(row, value):
    def change(array):
        array = array.copy()
        array[row] = value
        return array

    return change


WRONG = {
    "nan": (
        changed("rewards", set_at(7, np.nan)),
        "rewards: expected finite values, got NaN or infinite in 1 of 60 rows, first in row 7",
    ),
    "inf": (changed("observations", set_at((9, 1), np.inf)), "observations: expected finite values, got .* first in row 9"),
    "short": (changed("actions", lambda a: a[:-1]), "actions: expected 60 rows as observations has, got 59"),
    "flags": (changed("timeouts", lambda a: a[:1]), "timeouts: expected 60 rows"),
    "wide": (
        changed("actions", lambda a: 2 * a),
        r"actions: expected values in \[-1, 1\], got from -1.9\d+ to 1.9\d+; rescale them",
    ),
    "whole": (changed("observations", lambda a: a.astype(int)), "observations: expected floating-point numbers, got dtype int64"),
    "text": (changed("rewards", lambda a: np.full(60, b"1")), r"rewards: expected numbers, got dtype \|S1"),
    "complex": (changed("terminals", lambda a: a + 0j), "terminals: expected bool, got dtype complex"),
    "two": (changed("terminals", lambda a: a + 1.0), "terminals: expected 0 or 1, got values from 1 to 2"),
    "flat": (changed("observations", lambda a: a[:, 0]), r"observations: expected shape \(N, dimensions\), got \(60,\)"),
    "images": (
        changed("observations", lambda a: a[:, :, None]),
        r"observations: expected shape \(N, dimensions\), got \(60, 3, 1\)",
    ),
    "pairs": (changed("rewards", lambda a: np.stack([a, a], 1)), r"rewards: expected shape \(N,\), got \(60, 2\)"),
    "nothing": ({key: value[:0] for key, value in small_raw().items()}, "observations: expected at least one row, got none"),
    "keys": (
        {"observations": np.zeros((2, 2))},
        "expected the keys observations, actions, rewards, terminals; actions, rewards, terminals",
    ),
    "other": ({"a": np.zeros(2)}, "missing, found a, infos, metadata"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_content_is_refused_by_file_and_key(tmp_path, case):
    raw, complaint = WRONG[case]
    path = write(tmp_path / f"{case}.hdf5", raw)
    with pytest.raises(ValueError, match=f"^{path}: .*{complaint}" if case == "other" else f"^{path}: {complaint}"):
        read_hdf5(path)


def test_a_group_in_the_place_of_an_array_is_refused(tmp_path):
    path = write(tmp_path / "group.hdf5", {key: value for key, value in small_raw().items() if key != "actions"})
    with h5py.File(path, "a") as file:
        file["actions/left"] = np.zeros(3)
    with pytest.raises(ValueError, match="group.hdf5: actions: expected an array stored in this file, got a group"):
        read_hdf5(path)


def external_link(file, folder):
    write(folder / "other.hdf5", small_raw())
    file["rewards"] = h5py.ExternalLink(str(folder / "other.hdf5"), "rewards")


def soft_link(file, folder):
    file["elsewhere"] = np.zeros(60, np.float32)
    file["rewards"] = h5py.SoftLink("/elsewhere")


def external_storage(file, folder):
    (folder / "secret").write_bytes(bytes(240))
    file.create_dataset("rewards", (60,), np.float32, external=[(str(folder / "secret"), 0, 240)])


def virtual(file, folder):
    layout = h5py.VirtualLayout((60,), np.float32)
    layout[:] = h5py.VirtualSource(str(folder / "missing.hdf5"), "rewards", shape=(60,))
    file.create_virtual_dataset("rewards", layout)


@pytest.mark.parametrize(
    ("name", "found"),
    [("external_link", "a link"), ("soft_link", "a link"), ("external_storage", "external storage"), ("virtual", "a virtual")],
)
def test_an_array_of_another_file_is_refused_by_name(tmp_path, name, found):
    path = write(tmp_path / "mine.hdf5", {key: value for key, value in small_raw().items() if key != "rewards"})
    with h5py.File(path, "a") as file:
        globals()[name](file, tmp_path)
    with pytest.raises(ValueError, match=f"mine.hdf5: rewards: expected an array stored in this file, got {found}"):
        read_hdf5(path)


def test_more_rows_than_memory_holds_are_refused_by_name(tmp_path):
    path = write(tmp_path / "huge.hdf5", {key: value for key, value in small_raw().items() if key != "observations"})
    with h5py.File(path, "a") as file:
        file.create_dataset("observations", (10**13, 3), np.float32, chunks=(1000, 3))
    with pytest.raises(ValueError, match=r"huge.hdf5: observations, .*: expected at most the [\d,.]+ GB .* got 360,000.0 GB"):
        read_hdf5(path)


def test_a_chunk_larger_than_memory_and_texts_are_refused_unread(tmp_path):
    path = write(tmp_path / "chunk.hdf5", {key: value for key, value in small_raw().items() if key != "observations"})
    with h5py.File(path, "a") as file:
        file.create_dataset("observations", (60, 3), np.float32, chunks=(2**30, 1), maxshape=(None, 3), compression="gzip")
        # a gigabyte of zeros in a few kilobytes, for each of three columns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
        with pytest.raises(ValueError, match=r"chunk.hdf5: .*: expected at most the 1.0 GB of memory .* got 12.9 GB"):
            read_hdf5(path)
    words = write(tmp_path / "words.hdf5", {key: value for key, value in small_raw().items() if key != "rewards"})
    with h5py.File(words, "a") as file:
        file.create_dataset("rewards", (60,), h5py.string_dtype())
    with pytest.raises(ValueError, match="words.hdf5: rewards: expected numbers, got dtype object"):
        read_hdf5(words)


def test_successors_that_are_not_the_next_rows_are_named(tmp_path):
    raw = small_raw()
    own = np.roll(raw["observations"], -1, 0)
    ends = raw["terminals"] | raw["timeouts"]
    own[ends] = 7.0  # a true successor, which the next row does not hold
    assert read_hdf5(write(tmp_path / "agree.hdf5", raw | {"next_observations": own})).keys() == raw.keys()
    own[[3, 30]] += 1.0
    with pytest.warns(UserWarning, match="differ.hdf5: next_observations: 2 of 57 differ from the observation of the next row"):
        read_hdf5(write(tmp_path / "differ.hdf5", raw | {"next_observations": own}))


@pytest.mark.parametrize(("key", "value"), [("rewards", 1e38), ("rewards", -1e300), ("observations", 1e20)])
def test_values_whose_squares_no_float32_holds_are_refused(tmp_path, key, value):
    raw = small_raw() | {key: small_raw()[key].astype(np.float64)}
    raw[key][5] = value
    with pytest.raises(ValueError, match=f"large.hdf5: {key}: expected values up to 1e[+]15, got "):
        read_hdf5(write(tmp_path / "large.hdf5", raw))


def test_gymnasium_s_names_of_the_flags_are_explained(tmp_path):
    raw = small_raw()
    raw |= {"terminations": raw.pop("terminals"), "truncations": raw.pop("timeouts")}
    with pytest.raises(ValueError, match="terminals missing, found .*terminations and truncations are called terminals and time"):
        read_hdf5(write(tmp_path / "file.hdf5", raw))


def test_rounding_may_leave_the_bounds_and_whole_rewards_are_numbers():
    raw = small_raw()
    raw["actions"][3] = 1.0009
    check_raw(raw | {"rewards": np.arange(60)}, "raw")
    raw["actions"][3] = 1.0011
    with pytest.raises(ValueError, match="raw: actions"):
        check_raw(raw, "raw")
    with pytest.raises(ValueError, match="raw: expected a mapping of arrays by key, got list"):
        check_raw([1], "raw")


def test_a_wrong_file_is_not_written_and_what_was_there_stays(tmp_path):
    write_hdf5(tmp_path / "file.hdf5", small_raw())
    before = (tmp_path / "file.hdf5").read_bytes()
    with pytest.raises(ValueError, match="rewards: expected finite"):
        write_hdf5(tmp_path / "file.hdf5", changed("rewards", set_at(7, np.nan)))
    assert (tmp_path / "file.hdf5").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
