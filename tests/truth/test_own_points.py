"""Points of your own in any units, and CSV files as other programs write them: the same toy, and the way back."""

import csv
import io
import os
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from checks import assert_rows_close, seeded
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from cepkit import plots
from cepkit.diffusion.guidance import Guided
from cepkit.diffusion.sampling import sample
from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.fields import ExactDenoiser, ExactGuidance
from cepkit.truth.metrics import guidance_error
from cepkit.truth.own_points import from_points, read_csv

SCHEDULE = VPLinear()


def cloud(n=300):
    x = torch.randn(n, 2, generator=seeded(), dtype=torch.float64)
    return x, x[:, 0] + 0.3 * x[:, 1] ** 2


def quietly(*arguments, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return from_points(*arguments, **keywords)


# -- any scale ---------------------------------------------------------------------------------------------------------


@given(
    factors=st.tuples(*[st.sampled_from([1e-3, 1.0, 1e6])] * 2),
    shift=st.sampled_from([0.0, 1e4]),
    zero=st.sampled_from([0.0, 1.0, 1e3, 1e6]),
)
def test_units_and_origins_change_neither_fields_nor_samples_nor_errors(factors, shift, zero):
    x, energy = cloud(60)
    factor = torch.tensor(factors, dtype=torch.float64)
    plain = from_points(x, energy, std=0.2, standardize=True)
    moved = quietly(factor * x + shift, energy + zero, std=0.2, standardize=True)
    points = torch.randn(20, 2, generator=seeded(1))
    for name in ("score", "guidance"):
        here, there = (getattr(toy.truth.fields(points, 0.2, 2.0, SCHEDULE), name) for toy in (plain, moved))
        assert_rows_close(there, here, rtol=2e-4, atol=2e-4 * float(here.norm(dim=-1).mean()))
    guided = [Guided(ExactDenoiser(toy.truth, SCHEDULE), ExactGuidance(toy.truth, 2.0, SCHEDULE)) for toy in (plain, moved)]
    here, there = (sample(field, (30, 2), steps=8, generator=seeded()) for field in guided)
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-3)
    back = moved.scaling.undo(there)
    torch.testing.assert_close((back - shift) / factor, plain.scaling.undo(here), rtol=2e-3, atol=2e-3)
    wrong = [guidance_error(lambda x, t: x, toy.truth, 0.2, 2.0, SCHEDULE, n=200, generator=seeded()) for toy in (plain, moved)]
    torch.testing.assert_close(*wrong, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("factor", "shift"), [(200.0, 1500.0), (1e-3, 0.0), (1.0, 1e4), (1e6, 0.0)])
def test_columns_far_from_unit_scale_are_scaled_each_by_itself_and_said_so(factor, shift):
    x, energy = cloud()
    x = torch.stack([factor * x[:, 0] + shift, x[:, 1]], -1)
    with pytest.warns(UserWarning, match=r"^mine: each column centred by its mean .*toy\.scaling\.undo\(samples\) leads back$"):
        toy = from_points(x, energy, name="mine")
    mean = toy.truth.components().mean
    torch.testing.assert_close(mean.std(0, correction=0), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(toy.scaling.undo(mean), x)
    assert f"{float(x[:, 0].std(correction=0)):.4g}" in repr(toy) and toy.extent < 6


def test_points_of_unit_scale_stay_where_they_are():
    x, energy = cloud()
    toy = from_points(2 * x + 3, energy)
    assert torch.equal(toy.truth.components().mean, 2 * x + 3) and not str(toy.scaling) and repr(toy).count(":") == 0
    assert torch.equal(toy.scaling.undo(x), x)


def test_one_point_and_constant_columns_have_a_scale():
    for x in (torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.0]] * 5), torch.tensor([[5000.0, 4.0]])):
        toy = quietly(x, torch.zeros(len(x)), standardize=None)
        score = toy.truth.score(torch.zeros(4, 2), 0.5, SCHEDULE)
        assert bool(torch.isfinite(score).all())
        torch.testing.assert_close(toy.scaling.undo(toy.truth.components().mean).float(), x)
    centred = from_points(torch.tensor([[3.0, 4.0]]), torch.zeros(1), standardize=True)
    assert centred.truth.components().mean.tolist() == [[0.0, 0.0]] and centred.extent == 1.0


def test_the_least_spread_that_stays_counts_the_blur():
    x, energy = cloud()
    narrow = torch.stack([x[:, 0], 1e-3 * x[:, 1]], -1)
    assert not str(from_points(narrow, energy, std=0.2).scaling) and str(quietly(narrow, energy).scaling)


@pytest.mark.parametrize("zero", [1e6, -1e7])
def test_energies_far_from_zero_keep_their_digits_in_float32(zero):
    """Their zero is taken out where they enter; beta keeps its meaning."""
    x, energy = cloud()
    plain, moved = from_points(x, energy, std=0.2), quietly(x, energy + zero, std=0.2)
    assert moved.scaling.zero == pytest.approx(zero, rel=1e-6) and f"energies shifted by {-moved.scaling.zero:.6g}" in repr(moved)
    (x_1, energy_1), (x_2, energy_2) = (toy.sample(50, generator=seeded()) for toy in (plain, moved))
    torch.testing.assert_close(energy_2 + (moved.scaling.zero - zero), energy_1, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x_1, x_2)


def test_pictures_are_labelled_in_the_units_of_the_data():
    ax, (x, energy) = Figure().subplots(), cloud()
    toy = quietly(torch.stack([1500 + 200 * x[:, 0], 3e5 + 8e4 * x[:, 1]], -1), energy)
    plots.points(ax, toy, toy.sample(20, generator=seeded())[0])
    for axis, mean, std in zip((ax.xaxis, ax.yaxis), toy.scaling.mean, toy.scaling.std, strict=True):
        places, labels = axis.get_ticklocs(), [float(label.get_text()) for label in axis.get_ticklabels()]
        assert len(labels) >= 3 and labels == pytest.approx([mean + std * place for place in places])


# -- too few points ----------------------------------------------------------------------------------------------------


def test_a_beta_that_leaves_one_row_its_weight_is_said_with_one_that_leaves_more():
    x = torch.randn(500, 2, generator=seeded())
    energy = 1500 + 200 * torch.randn(500, generator=seeded(1), dtype=torch.float64)
    toy = from_points(x, energy)
    text = toy.few_points(3.0)
    assert text.startswith("beta = 3 leaves weight to about 1 of 500 points, too few to learn from")
    better = float(text.split("beta = ")[2].split()[0])
    weight = torch.softmax(-better * energy, 0)
    assert 50 <= float(1 / weight.square().sum()) < 70 and not toy.few_points(better) and not toy.few_points(0.0)


# -- CSV files ---------------------------------------------------------------------------------------------------------

FRAME = pd.DataFrame({"x": [0.25, 2.0, 0.5, 7.0], "y": [1.0, -1.5, 0.5, 3.0], "cost": [0.0, 1.0, 2.0, 0.5]})
DIGITS = FRAME.set_axis(range(3), axis=1)


def written(frame, **how):
    return frame.to_csv(None, lineterminator="\n", **how)


AS_WRITTEN = {
    "pandas": (written(FRAME), "commas", "header on line 1 (, x, y, cost)"),
    "pandas without its index": (written(FRAME, index=False), "commas", "header on line 1 (x, y, cost)"),
    "pandas twice": (written(FRAME).replace(",x", "Unnamed: 0,x", 1), "commas", "left out"),
    "rows that were shuffled": (written(FRAME.iloc[[2, 0, 3, 1]]), "commas", "left out"),
    "columns without names": (written(DIGITS, index=False), "commas", "header on line 1 (0, 1, 2)"),
    "columns without names, with row numbers": (written(DIGITS), "commas", "left out"),
    "no header": (written(FRAME, header=False, index=False), "commas", "no header"),
    "semicolons": (written(FRAME, sep=";", index=False), "semicolons", "header"),
    "semicolons and decimal commas": (written(FRAME, sep=";", decimal=",", index=False), "semicolons", "header"),
    "tabs": (written(FRAME, sep="\t"), "tabs", "left out"),
    "R": (written(FRAME.set_axis(["1", "2", "3", "4"]), quoting=csv.QUOTE_NONNUMERIC), "commas", "left out"),
}


@pytest.mark.parametrize("case", AS_WRITTEN)
def test_what_other_programs_write_is_read_as_meant_and_said(case, tmp_path):
    text, separator, said = AS_WRITTEN[case]
    path = tmp_path / "mine.csv"
    path.write_text(text)
    x, energy, about = read_csv(path)
    found = np.column_stack([x, energy])
    assert found[found[:, 0].argsort()].tolist() == FRAME.sort_values("x").values.tolist()
    assert f"4 points, columns separated by {separator}" in about and said in about
    assert about in repr(quietly(path))


@pytest.mark.parametrize("first", ["0,1,2", "0,1"])
def test_a_first_row_that_counts_is_a_point_where_the_rest_are_integers_too(first, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(first + "\n" + first.replace("1", "7") + "\n")
    assert len(read_csv(path).x) == 2 and read_csv(path).about.endswith("no header")


@given(st.lists(st.tuples(*[st.floats(-1e9, 1e9)] * 3), min_size=1, max_size=5), st.sampled_from([",", ";", "\t"]), st.booleans())
def test_any_table_comes_back(tmp_path_factory, rows, separator, header):
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([["a", "b", "c"]] * header + rows)
    path.write_text(out.getvalue())
    x, energy, about = read_csv(path)
    assert np.column_stack([x, energy]).tolist() == [list(row) for row in rows] and ("no header" in about) != header


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ValueError, match="expected a readable CSV file, got .* no regular file"):
        read_csv(tmp_path / "pipe.csv")
