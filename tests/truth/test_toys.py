"""The recipes and the truth are the same distributions; anyone's own data become a toy or a clear refusal."""

import math
import re
import warnings

import numpy as np
import pytest
import references
import torch
from checks import assert_within_standard_errors, seeded, toy_named
from hypothesis import given
from hypothesis import strategies as st

from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.exact import Mixture
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import TOYS, make_toy

LINEAR = VPLinear()
POINTS = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]])
ENERGY = np.array([0.0, 1.0, 2.0])
ROWS = "0,1,0\n2,-1,1\n0.5,0.5,2\n"


def field(toy):
    """A view of a toy that depends on every point and energy."""
    return torch.cat(
        [
            torch.stack(list(toy.truth.fields(torch.zeros(1, 2), 0.3, 2.0, LINEAR)[::2])).flatten(),
            toy.truth.components().mean.flatten(),
        ]
    )


# -- the six toys ------------------------------------------------------------------------------------------------------


def test_the_recipe_and_the_truth_are_one_distribution(toy):
    """Characteristic functions of x, alone and weighted by the energy, at frequencies from coarse to fine."""
    n = 200_000
    recipe, truth = (source.sample(n, generator=seeded(k), dtype=torch.float64) for k, source in enumerate((toy, toy.truth)))
    frequencies = torch.randn(2, 6, generator=seeded(2), dtype=torch.float64) * torch.tensor([0.5, 1, 1, 2, 4, 8])

    def features(x, energy):
        phase = x @ frequencies
        waves = torch.cat([phase.cos(), phase.sin()], -1)
        return torch.cat([waves, waves * energy[:, None], x**2, energy[:, None], energy[:, None] ** 2], -1)

    a, b = features(*recipe), features(*truth)
    assert_within_standard_errors(a.mean(0), b.mean(0), ((a.var(0) + b.var(0)) / n).sqrt())


def test_the_recipe_follows_the_brute_force_density(toy):
    """A smoothed density estimate from the recipe's samples against q_t of the reference."""
    t, x0 = 0.3, toy.sample(200_000, generator=seeded(3), dtype=torch.float64)[0]
    alpha, sigma = float(LINEAR.alpha(t)), float(LINEAR.sigma(t))
    look = torch.tensor([[0.0, 0.0], [1.0, 0.5], [-1.5, 1.0]], dtype=torch.float64)
    kernel = (-(look[:, None] - alpha * x0).square().sum(-1) / (2 * sigma**2)).exp() / (2 * math.pi * sigma**2)
    expected = torch.from_numpy(references.log_q(toy.name, look.numpy(), t)).exp()
    assert_within_standard_errors(expected, kernel.mean(1), kernel.std(1) / len(x0) ** 0.5)


def test_mode_masses_are_those_of_the_recipe(toy):
    probability = toy.truth.mode_probability(toy.sample(4000, generator=seeded(4), dtype=torch.float64)[0])
    error = (probability.std(0) / len(probability) ** 0.5).clamp_min(1e-12)
    assert_within_standard_errors(toy.truth.mode_masses(), probability.mean(0), error)


@pytest.mark.parametrize("name", ["8gaussians", "moons", "rings"])
def test_the_label_of_a_sample_is_its_mode(name):
    """These toys have one energy per mode, so the recipe's label must name the mode the truth finds most likely."""
    toy = toy_named(name)
    x, energy = toy.sample(2000, generator=seeded(5), dtype=torch.float64)
    c = toy.truth.components()
    of_mode = torch.stack([c.energy[c.mode == mode][0] for mode in range(int(c.mode.max()) + 1)])
    named = of_mode[toy.truth.mode_probability(x).argmax(-1)]
    assert float((named - energy).abs().lt(1e-12).double().mean()) > 0.99


def test_the_energy_of_a_place_is_the_average_of_the_samples_there(toy):
    """energy(x) is E[E | x]: what is left, E - energy(x), averages to zero against any function of x."""
    x, energy = toy.sample(4000, generator=seeded(6), dtype=torch.float64)
    left = (energy - toy.energy(x))[:, None] * torch.stack([torch.ones(len(x)), x[:, 0].cos(), (2 * x[:, 1]).sin()], -1)
    assert_within_standard_errors(torch.zeros(3), left.mean(0), left.std(0) / len(x) ** 0.5 + 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_swissroll_s_energy_is_one_minus_the_squared_radius_over_nine(dtype):
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0], [-3.0, 0.5], [5.0, -5.0]], dtype=dtype)
    torch.testing.assert_close(toy_named("swissroll").energy(x), 1 - x.square().sum(-1) / 9, rtol=1e-5, atol=1e-5)


def test_the_checkerboard_is_good_in_its_first_and_third_columns(generator):
    x, energy = toy_named("checkerboard").sample(1000, generator=generator)
    column, row = (x / 2).floor().unbind(-1)
    assert torch.equal(energy == 0, (column == -2) | (column == 0))
    assert bool(((row + 2 - column.remainder(2)).remainder(2) == 0).all()) and float(x.abs().max()) <= 4


def test_moons_are_scikit_learn_s(generator):
    """Same arcs, scaled by two and moved by (-1, -0.2); its own noise off."""
    from sklearn.datasets import make_moons

    arcs, lower = make_moons(2000, noise=None, random_state=0)
    nearest = toy_named("moons").truth.components(0.05)
    moved = torch.from_numpy(arcs * 2 + (-1.0, -0.2))
    for label in (0, 1):
        centres = nearest.mean[nearest.mode == label]
        assert float(torch.cdist(moved[lower == label], centres).amin(1).max()) < 0.1


def test_the_same_generator_gives_the_same_samples(toy):
    first, second = (toy.sample(20, generator=seeded(7)) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_samples_come_in_the_shape_and_dtype_asked_for(toy, n, dtype):
    for x, energy in (toy.sample(n, dtype=dtype), toy.truth.sample(n, dtype=dtype)):
        assert x.shape == (n, 2) and energy.shape == (n,) and x.dtype == energy.dtype == dtype


def test_pictures_hold_nearly_all_of_a_toy(toy):
    x, _ = toy.sample(5000, generator=seeded(8))
    assert float((x.abs().amax(-1) <= toy.extent).double().mean()) > 0.99


@pytest.mark.parametrize("name", ["moon", "", None, 8])
def test_an_unknown_toy_is_answered_with_the_known_ones(name):
    with pytest.raises(ValueError, match=f"^name: expected one of {', '.join(TOYS)}, got {name!r}"):
        make_toy(name)


@pytest.mark.parametrize("n", [-1, 2.5, math.nan, "a"])
def test_a_number_of_samples_is_a_whole_number(n):
    for source in (toy_named("moons"), toy_named("moons").truth):
        with pytest.raises(ValueError, match="^n: expected an integer of at least 0, got"):
            source.sample(n)


# -- your own data -----------------------------------------------------------------------------------------------------


@pytest.fixture
def csv_file(tmp_path):
    def write(content):
        path = tmp_path / "mine.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("x", "energy"),
    [
        (POINTS, ENERGY),
        (POINTS.tolist(), ENERGY.tolist()),
        (torch.from_numpy(POINTS), torch.from_numpy(ENERGY)),
        (torch.tensor(POINTS, dtype=torch.float32, requires_grad=True), ENERGY),
        (POINTS.astype(np.float32), ENERGY.astype(int)),
        (np.asfortranarray(POINTS), ENERGY[:, None]),
        (POINTS[::-1], ENERGY[::-1]),
        (np.broadcast_to(POINTS, (3, 2)), np.broadcast_to(ENERGY, (3,))),
    ],
    ids=["numpy", "lists", "torch", "with gradient", "float32", "column", "reversed", "read-only"],
)
def test_arrays_of_any_kind_become_the_same_toy(x, energy):
    mine, plain = from_points(x, energy), from_points(POINTS.copy(), ENERGY.copy())
    assert torch.equal(field(mine).sort().values, field(plain).sort().values)


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        "x,y,energy\n" + ROWS,
        '"x","y","e"\n' + ROWS,
        "\ufeffx,y,e\n" + ROWS,
        ROWS.replace("\n", "\r\n"),
        ROWS.replace(",", ", "),
        "\n" + ROWS + "\n\n",
    ],
    ids=["bare", "header", "quoted header", "byte-order mark", "windows", "spaces", "blank lines"],
)
def test_a_csv_file_becomes_the_same_toy(text, csv_file):
    assert torch.equal(field(from_points(csv_file(text))), field(from_points(POINTS.copy(), ENERGY.copy())))


def test_a_path_may_be_a_string_and_names_the_toy(csv_file):
    assert from_points(str(csv_file(ROWS))).name == "mine"


def test_your_own_toy_samples_its_points(generator):
    x, energy = from_points(POINTS.copy(), ENERGY.copy()).sample(50, generator=generator, dtype=torch.float64)
    which = energy.long()
    assert torch.equal(x, torch.tensor(POINTS)[which])


def test_your_own_arrays_are_not_kept_by_reference():
    x, energy = POINTS.copy(), ENERGY.copy()
    toy = from_points(x, energy)
    before = field(toy)
    x[:], energy[:] = 9.0, 9.0
    assert torch.equal(field(toy), before)


def test_standardize_centres_and_scales(generator):
    x = 1e6 + 1e3 * torch.randn(500, 2, generator=generator, dtype=torch.float64)
    mean = from_points(x, torch.zeros(500), standardize=True).truth.components().mean
    torch.testing.assert_close(mean.mean(0), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-9)
    assert float(mean.std(correction=0)) == pytest.approx(1.0)


def test_the_picture_of_your_own_data_holds_every_point():
    toy = from_points(POINTS + 3.0, ENERGY.copy())
    assert bool((np.abs(POINTS + 3.0 - np.array(toy.centre)) < toy.extent).all())


@given(st.lists(st.tuples(*[st.floats(-5, 5, allow_subnormal=False)] * 3), min_size=1, max_size=8))
def test_csv_and_arrays_agree_on_any_numbers(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    path.write_text("".join(",".join(map(repr, row)) + "\n" for row in rows))
    table = np.array(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns that are scaled
        assert torch.equal(field(from_points(path)), field(from_points(table[:, :2].copy(), table[:, 2].copy())))


BAD_ARRAYS = {
    "no energy": ((POINTS,), "energy", "None"),
    "energies of another length": ((POINTS, ENERGY[:2]), "energy", re.escape("(2,)")),
    "one energy for all": ((POINTS, 1.0), "energy", re.escape("()")),
    "energies in a matrix": ((POINTS, POINTS), "energy", re.escape("(3, 2)")),
    "NaN point": ((POINTS + np.nan, ENERGY), "x", "NaN"),
    "infinite point": ((POINTS + np.inf, ENERGY), "x", "infinite"),
    "NaN energy": ((POINTS, ENERGY + np.nan), "energy", "NaN"),
    "one-dimensional": ((POINTS[:, 0], ENERGY), "x", re.escape("(3,)")),
    "no points": ((np.zeros((0, 2)), np.zeros(0)), "x", re.escape("(0, 2)")),
    "no coordinates": ((np.zeros((3, 0)), ENERGY), "x", re.escape("(3, 0)")),
    "ragged": (([[0.0, 1.0], [2.0]], [0.0, 1.0]), "x", "list"),
    "words": ((np.array([["a", "b"]]), np.zeros(1)), "x", "ndarray"),
    "words for energies": ((POINTS, ["a", "b", "c"]), "energy", "list"),
    "complex": ((POINTS + 1j, ENERGY), "x", "complex"),
    "nothing": ((None, ENERGY), "x", "None"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_do_not_fit_are_refused_by_name(case):
    arguments, argument, came = BAD_ARRAYS[case]
    for make in (from_points, Mixture.from_points):
        if case != "no energy" or make is from_points:
            with pytest.raises(ValueError, match=rf"^{argument}: expected .*got.*{came}"):
                make(*arguments)


BAD_KEYWORDS = {
    "negative blur": ({"std": -0.1}, "std"),
    "NaN blur": ({"std": math.nan}, "std"),
    "blur in words": ({"std": "0.1"}, "std"),
}


@pytest.mark.parametrize("case", BAD_KEYWORDS)
def test_a_mixture_refuses_bad_settings_by_name(case):
    keywords, argument = BAD_KEYWORDS[case]
    with pytest.raises(ValueError, match=f"^{argument}: expected .*got"):
        Mixture.from_points(POINTS.copy(), ENERGY.copy(), **keywords)


def test_points_far_from_the_unit_scale_that_are_to_stay_are_refused():
    with pytest.raises(ValueError, match="^x: expected points of about unit scale, got .* in column 0, which the noise"):
        from_points(POINTS * 1000, ENERGY, standardize=False)


BAD_FILES = {
    "empty": ("", "empty"),
    "blank lines only": ("\n\n", "empty"),
    "header only": ("x,y,e\n", "empty"),
    "ragged": ("1,2,3\n4,5\n", "2 on line 2"),
    "ragged after a header": ("x,y,e\n1,2,3\n4,5,6,7\n", "4 on line 3"),
    "a word among numbers": ("1,2,3\n4,five,6\n", "'five' on line 2"),
    "a hole": ("1,2,3\n4,,6\n", "'' on line 2"),
    "one column": ("1\n2\n", "1$"),
    "a header of nothing": ("NA,NA,NA\n1,2,3\n", "'NA' on line 1"),
    "a first row with a hole": ("NA,1,2\n1,2,3\n", "'NA' on line 1"),
    "a decimal comma between commas": ('x,e\n"1,5","2,5"\n', "'1,5' on line 2"),
    "thousands": ("x;e\n1.234,5;2\n", "'1.234,5' on line 2"),
    "a first column without a name that holds no row numbers": (",y,e\n0.5,2,3\n1.5,5,6\n", "''$"),
    "row numbers and nothing to learn": (",e\n0,2\n1,5\n", "1$"),
    "not text": (b"\xff\xfe\x00\x01", "mine.csv"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_csv_file_that_does_not_fit_is_refused(case, csv_file):
    content, came = BAD_FILES[case]
    with pytest.raises(ValueError, match=f"^x: expected .*got.*{came}"):
        from_points(csv_file(content))


@pytest.mark.parametrize(("text", "argument"), [("nan,1,2\n", "x"), ("0,1,nan\n", "energy"), ("0,1,1e400\n", "energy")])
def test_numbers_in_a_csv_file_are_finite(text, argument, csv_file):
    with pytest.raises(ValueError, match=f"^{argument}: expected finite values"):
        from_points(csv_file(text))


@pytest.mark.parametrize("path", ["nowhere.csv", "/", "null\0byte.csv"])
def test_a_path_that_cannot_be_read_is_refused(path):
    with pytest.raises(ValueError, match="^x: expected a readable CSV file, got"):
        from_points(path)


def test_energies_beside_a_csv_file_are_refused(csv_file):
    with pytest.raises(ValueError, match="^energy: expected None with a CSV path.*got"):
        from_points(csv_file(ROWS), ENERGY)
