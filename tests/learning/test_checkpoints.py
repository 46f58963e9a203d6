"""Files that are whole or absent, whatever happens on the way."""

import os

import pytest
import torch
from torch import nn

from cepkit.learning.checkpoints import check_same_tensors, fill, load_tensors, save_tensors, write_atomically


def tensors():
    return {"a": torch.arange(6.0).view(2, 3), "b.step": torch.tensor(3.0), "bits": torch.arange(5, dtype=torch.uint8)}


def test_tensors_and_words_come_back(tmp_path):
    save_tensors(tmp_path / "file", tensors(), {"step": "3", "made by": "ünicode"})
    back, words = load_tensors(tmp_path / "file")
    assert words == {"step": "3", "made by": "ünicode"} and back.keys() == tensors().keys()
    assert all(torch.equal(back[name], value) and back[name].dtype == value.dtype for name, value in tensors().items())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_views_and_tensors_with_gradients_are_stored_as_they_look(tmp_path):
    whole = torch.arange(12.0).view(3, 4).requires_grad_()
    save_tensors(tmp_path / "file", {"turned": whole.T, "part": whole[1:, ::2], "whole": whole}, {})
    back, words = load_tensors(tmp_path / "file")
    assert torch.equal(back["turned"], whole.T) and torch.equal(back["part"], whole[1:, ::2]) and words == {}


def test_equal_content_is_equal_bytes(tmp_path):
    for name in ("one", "two"):
        save_tensors(tmp_path / name, tensors(), {"step": "3"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_second_write_replaces_the_first_and_what_a_killed_one_left(tmp_path):
    (tmp_path / ".file.partial").write_bytes(b"half")
    write_atomically(tmp_path / "file", b"one")
    write_atomically(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"two" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_write_that_fails_on_the_way_leaves_what_was_there(tmp_path, monkeypatch, function):
    """The disk refuses at the flush, or at the renaming."""
    write_atomically(tmp_path / "file", b"before")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, refuse)
    with pytest.raises(OSError, match=r"could not write .*file \(No space left on device\); what was saved before") as error:
        write_atomically(tmp_path / "file", b"after")
    assert error.value.errno == 28 and (tmp_path / "file").read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


def test_the_content_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    order, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda *a: (order.append("flush"), fsync(*a)))
    monkeypatch.setattr(os, "replace", lambda *a: (order.append("rename"), replace(*a)))
    write_atomically(tmp_path / "file", b"content")
    assert order == ["flush", "rename"]


def test_a_folder_that_is_not_there_or_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(OSError, match=f"could not write {folder / 'weights'}"):
            write_atomically(folder / "weights", b"")


def whole(tmp_path):
    save_tensors(tmp_path / "whole", tensors(), {})
    return (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("end", [0, 1, 7, 8, 9, 60, -8, -1])
def test_a_file_cut_anywhere_is_refused_by_name(tmp_path, end):
    (tmp_path / "cut").write_bytes(whole(tmp_path)[:end])
    with pytest.raises(ValueError, match="cut: expected a whole safetensors file"):
        load_tensors(tmp_path / "cut")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" * 20, b"\x80\x04K\x05.", b"{}", b"\xff" * 100, b"\0" * 100])
def test_a_foreign_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "foreign").write_bytes(content)
    with pytest.raises(ValueError, match="foreign: expected a whole safetensors file"):
        load_tensors(tmp_path / "foreign")


def test_no_file_and_a_folder_are_refused_by_name(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(ValueError, match=f"{path}: expected a safetensors file, found none"):
            load_tensors(path)


def test_filling_a_module_is_loading_its_state(tmp_path):
    torch.manual_seed(0)
    one, other = nn.Linear(2, 3), nn.Linear(2, 3)
    fill({"net": other}, {f"net.{key}": value for key, value in one.state_dict().items()}, tmp_path / "file")
    assert torch.equal(one.weight, other.weight) and torch.equal(one.bias, other.bias)
    assert not other.training and not other.weight.requires_grad


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.pop("net.bias"), "expected the tensor net.bias of this architecture, which it lacks"),
        (lambda t: t.update(extra=torch.zeros(1)), "holds the tensor extra, which this architecture does not have"),
        (lambda t: t.update({"net.weight": torch.zeros(2, 3)}), r"expected net.weight of shape \(3, 2\).*got \(2, 3\)"),
        (
            lambda t: t.update({"net.weight": torch.zeros(3, 2).double()}),
            "expected net.weight of .*torch.float32, got .*torch.float64",
        ),
        (lambda t: t["net.bias"].fill_(torch.nan), "expected finite numbers, got NaN or infinite ones in net.bias"),
    ],
)
def test_tensors_of_another_architecture_are_refused_by_name_and_change_nothing(tmp_path, change, complaint):
    module = nn.Linear(2, 3)
    before, given = module.weight.clone(), {f"net.{key}": torch.zeros_like(value) for key, value in module.state_dict().items()}
    change(given)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'file'}: {complaint}"):
        fill({"net": module}, given, tmp_path / "file")
    assert torch.equal(module.weight, before)


def test_the_same_tensors_are_accepted(tmp_path):
    check_same_tensors(tensors(), tensors(), tmp_path / "file")
