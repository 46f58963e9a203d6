"""What a run has learned, beside the truth."""

import pytest
import torch
from checks import seeded

from cepkit.course.show_run import show_run
from cepkit.learning import DataSource, TrainingConfig, start_run
from cepkit.truth.toys import TOYS

# trainings of a few steps, which say that they do not suffice
pytestmark = pytest.mark.filterwarnings("ignore:at t .* the learned guidance is worse")
TINY = {"width": 8, "layers": 2, "waves": 2, "groups": 4, "contrasts": 16, "denoiser_groups": 4, "denoiser_samples": 8}


def run_of(folder, data, **settings):
    for _ in start_run(folder, TrainingConfig(**{**TINY, "steps": 20, **settings}), data):
        pass
    return folder


def test_the_table_has_the_learned_row_among_the_known_ones_and_the_figure_is_a_picture(tmp_path):
    headline, table, path = show_run(run_of(tmp_path, DataSource("moons", n=2000)), n=100)
    names = [row.name for row in table.rows]
    assert names[0] == "learned (CEP)" and {"exact", "mean energy", "DPS", "LGD-MC", "no guidance"} < set(names)
    errors = table.row("learned (CEP)").field_errors
    assert "moons, beta = 3, CEP, step 20 of 20" in headline and f"mean field error {sum(errors) / len(errors):.3f}" in headline
    assert "\nat t <= 0." in headline and "the learned guidance is worse than the exact mean energy" in headline
    assert 0 < errors[-1] < 0.5 and not any(table.row("exact").field_errors)
    assert path == tmp_path / "figure.png" and path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20_000


def test_a_run_of_the_energy_alone_is_shown_with_the_exact_denoiser(tmp_path):
    _, table, path = show_run(run_of(tmp_path, DataSource("8gaussians", n=2000), parts=("energy",), objective="MSE"), n=60)
    assert path.exists() and table.rows[0].name == "learned (MSE)"


def test_a_run_in_three_dimensions_has_a_table_and_no_figure(tmp_path):
    x = torch.randn(60, 3, generator=seeded())
    lines = [",".join(map(str, [*row, row[2]])) for row in x.tolist()]
    (tmp_path / "points.csv").write_text("\n".join(lines))
    folder = run_of(tmp_path / "run", DataSource(str(tmp_path / "points.csv"), n=500, std=0.3), beta=1.0)
    _, table, path = show_run(folder, n=60)
    assert path is None and table.toy == "points" and not (folder / "figure.png").exists()


def test_an_unfinished_run_says_how_far_it_is(tmp_path):
    start_run(tmp_path, TrainingConfig(**TINY, steps=30), DataSource(TOYS[0], n=500))
    assert "step 0 of 30" in show_run(tmp_path, n=50)[0]


def test_a_run_without_truth_or_energy_net_is_refused(tmp_path):
    arrays = run_of(tmp_path / "arrays", (torch.randn(50, 2, generator=seeded()), torch.zeros(50)))
    with pytest.raises(ValueError, match="was trained on arrays, so there is no truth to show"):
        show_run(arrays)
    with pytest.raises(ValueError, match="has no energy net to show"):
        show_run(run_of(tmp_path / "denoiser", DataSource("moons", n=50), parts=("denoiser",)))
    with pytest.raises(ValueError, match="expected a run folder"):
        show_run(tmp_path)
    with pytest.raises(ValueError, match="^n: expected"):
        show_run(run_of(tmp_path / "run", DataSource("moons", n=50)), n=0)
