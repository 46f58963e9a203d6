"""Every control of the lab, by its trait: what it changes in what travels to the browser, without a browser."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref

import ipywidgets
import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances as registered

from cepkit.diffusion.denoisers import FunctionDenoiser
from cepkit.diffusion.schedules import VPLinear
from cepkit.lab import BUILT_IN, GuidanceLab
from cepkit.lab.controls import FIELDS, HEATS, LAYERS, SETTINGS
from cepkit.lab.guidance_lab import DEFAULT
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactDenoiser, ExactGuidance
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import make_toy

SMALL = {"particles": 40, "steps": 5}


@pytest.fixture(scope="module")
def lab():
    return GuidanceLab("8gaussians", **SMALL)


def particles(lab):
    """(P, T, N, 2) in data units, as the browser reads them."""
    stored = np.frombuffer(lab.paths["data"], "<i2").reshape(len(lab.setup["names"]), len(lab.paths["times"]), -1, 2)
    return stored * (lab.paths["span"] / 32000) + np.array(lab.setup["centre"])


def test_it_opens_on_four_panels_with_everything_measured(lab):
    assert lab.setup["names"] == list(DEFAULT) and lab.paths["stage"] == "full"
    assert particles(lab).shape == (4, 6, 40, 2) and lab.position == 5
    assert len(lab.maps["errors"]) == len(lab.chart["errors"]) == len(lab.readout["mmd2"]) == 4
    assert lab.status == {"busy": "", "failures": [""] * 4, "notes": [""] * 4}


def test_points_in_other_units_are_shown_in_them():
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    toy = from_points(200 * x + 1500, x[:, 0], std=0.3, standardize=True)
    lab = GuidanceLab(toy, ("exact",), **SMALL)
    assert lab.setup["units"] == {"mean": toy.scaling.mean, "std": toy.scaling.std} and toy.about in lab.setup["note"]
    torch.testing.assert_close(torch.tensor(lab.setup["units"]["mean"]).double(), (200 * x + 1500).mean(0))


def test_a_beta_that_leaves_too_few_of_your_own_points_is_said_below_the_panels():
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    lab = GuidanceLab(from_points(x, 100 * x[:, 0], std=0.3), ("exact",), **SMALL)
    lab.settle()
    assert "leaves weight to about 1 of 200 points" in lab.status["busy"]
    lab.beta = 0.001
    lab.settle()
    assert lab.status["busy"] == ""


@pytest.mark.parametrize(
    ("name", "value"), [("scale", 2.0), ("beta", 1.0), ("steps", 7), ("method", "ddim"), ("particles", 30), ("seed", 4)]
)
def test_every_setting_moves_the_particles_and_is_named_with_them(name, value):
    lab = GuidanceLab("8gaussians", **SMALL)
    before = lab.paths
    setattr(lab, name, value)
    assert lab.paths[name] == value and lab.paths["data"] != before["data"]
    assert lab.maps["beta"] == lab.beta and len(lab.chart["times"]) == lab.steps + 1


def test_the_scale_leaves_the_maps_alone_and_beta_does_not(lab):
    maps = lab.maps
    lab.scale = 3.0
    assert lab.maps is maps
    lab.beta = 2.0
    assert lab.maps is not maps and lab.maps["target"] != maps["target"] and lab.maps["data"] == maps["data"]
    lab.scale, lab.beta = 1.0, 3.0


def test_the_number_of_steps_keeps_the_fraction_of_the_way():
    lab = GuidanceLab("moons", **SMALL)
    lab.position = 2.5
    lab.steps = 10
    assert lab.position == 5.0


def test_the_toy_can_be_changed_and_own_points_come_back():
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    lab = GuidanceLab(from_points(x, x[:, 0], std=0.1, name="mine"), **SMALL)
    own = lab.maps["target"]
    lab.toy_name = "checkerboard"
    assert lab.setup["extent"] == 5.0 and lab.toy.name == "checkerboard" and lab.maps["target"] != own
    lab.toy_name = "mine"
    assert lab.maps["target"] == own


def test_panels_can_be_chosen_and_change_everything_together():
    lab = GuidanceLab("moons", **SMALL)
    lab.panels = ["DPS", "exact"]
    assert lab.setup["names"] == lab.panels == ["exact", "DPS"]
    assert particles(lab).shape[0] == len(lab.maps["errors"]) == len(lab.chart["errors"]) == len(lab.readout["mmd2"]) == 2


def test_no_panel_at_all_leaves_them_as_they_are(lab):
    lab.panels = []
    assert lab.panels == list(DEFAULT)


@pytest.mark.parametrize(("name", "values"), [("heat", HEATS), ("field", FIELDS)])
def test_choices_of_layers_take_their_values_only(lab, name, values):
    for value in values:
        setattr(lab, name, value)
    with pytest.raises(Exception, match="rainbow"):
        setattr(lab, name, "rainbow")
    setattr(lab, name, values[1])


@pytest.mark.parametrize("name", ["streamlines", "show_particles", "trajectories", "contours", "locked", "show_chart", "playing"])
def test_layers_are_switched_without_new_work(lab, name):
    before = (lab.paths, lab.maps, lab.chart)
    setattr(lab, name, not getattr(lab, name))
    assert all(a is b for a, b in zip((lab.paths, lab.maps, lab.chart), before, strict=True))
    setattr(lab, name, not getattr(lab, name))


def test_time_moves_without_new_work(lab):
    before = lab.paths
    lab.position = 1.5
    assert lab.paths is before


@pytest.mark.parametrize("name", ["toy_name", "panels", "position", *SETTINGS, *LAYERS])
def test_every_control_of_the_browser_is_a_trait_that_is_synchronised(lab, name):
    assert f'name: "{name}"' in lab._esm and name in lab.trait_names(sync=True)


def test_controls_can_be_linked_to_other_widgets(lab):
    slider = ipywidgets.FloatSlider(value=2.0, max=10)
    link = ipywidgets.link((slider, "value"), (lab, "scale"))
    assert lab.paths["scale"] == 2.0
    slider.value = 1.0
    assert lab.paths["scale"] == 1.0
    link.unlink()


def click(lab, x, y, position):
    lab._handle_custom_msg({"type": "drop", "x": x, "y": y, "position": position}, [])


def test_clicking_drops_a_particle_whose_paths_follow_the_settings(lab):
    click(lab, 1.0, 0.5, 2.2)
    (drop,) = lab.drops
    paths = [np.frombuffer(panel, "<f4").reshape(-1, 2) for panel in drop["panels"]]
    assert len(paths) == 4 and all(path.shape == (4, 2) and path[0].tolist() == [1.0, 0.5] for path in paths)
    click(lab, -1.0, 0.0, 0)
    click(lab, 0.0, 2.0, 2)
    assert len(lab.drops) == 3 and drop in lab.drops and len(lab.drops[-1]["panels"][0]) == 8 * 6
    lab.scale = 4.0
    assert lab.drops[0]["panels"][0] != drop["panels"][0] and lab.drops[0]["panels"][3] == drop["panels"][3]
    lab.scale = 1.0
    lab._handle_custom_msg({"type": "clear"}, [])
    assert lab.drops == []


@pytest.mark.parametrize("place", [(math.nan, 0, 1), (0, math.inf, 1), (0, 0, math.nan), (None, 0, 1), (0, -1e200, 1)])
def test_a_particle_dropped_nowhere_is_refused_and_the_sliders_go_on(place):
    lab = GuidanceLab("moons", **SMALL)
    click(lab, *place)
    assert "expected" in lab.status["busy"] and lab.drops == []
    lab.scale = 2.0
    assert lab.status["busy"] == "" and lab.paths["scale"] == 2.0
    with pytest.raises(ValueError, match="^y: expected"):
        lab.drop(0.0, float("nan"))


def test_a_callable_that_fails_is_named_in_its_panel_and_the_sliders_go_on():
    def fails_late(x_t, t):
        if float(t) < 0.4:
            raise RuntimeError("out of range")
        return -x_t

    lab = GuidanceLab("moons", {"exact": None, "late": fails_late, "flat": lambda x, t: x[..., 0]}, **SMALL)
    exact, late, flat = lab.status["failures"]
    assert exact == "" and "late at t = " in late and "out of range" in late
    assert "flat at t = 1: expected a tensor of the shape of x_t (40, 2), got (40,)" in flat
    assert np.abs(particles(lab)[1]).min() > 10 and np.abs(particles(lab)[0, -1]).max() < 5  # out of sight, and not
    before = lab.paths["data"]
    lab.scale = 2.0
    assert lab.paths["data"] != before and lab.chart["errors"][1][-1] is None and lab.chart["errors"][0][-1] == 0


class Wordless(Exception):
    def __str__(self):
        raise RuntimeError


def stops(x_t, t):
    raise StopIteration


def wordless(x_t, t):
    raise Wordless


@pytest.mark.parametrize(("function", "came"), [(stops, "got StopIteration"), (wordless, "<exception str() failed>")])
def test_a_denoiser_that_fails_is_named_however_it_does(function, came):
    lab = GuidanceLab("moons", ("exact",), denoiser=FunctionDenoiser(function, VPLinear(), "eps"), **SMALL)
    assert came in lab.status["busy"]
    panels = GuidanceLab("moons", {"exact": None, "mine": function}, **SMALL)
    assert panels.status["failures"][0] == "" and panels.status["failures"][1].startswith("mine at t = 1: raised")


@pytest.mark.parametrize("denoiser", [lambda x_t, t: x_t, FunctionDenoiser(torch.tanh, None, "eps"), "exact"])
def test_what_is_no_denoiser_is_refused(denoiser):
    with pytest.raises(ValueError, match="^denoiser: expected .*got"):
        GuidanceLab("moons", ("exact",), denoiser=denoiser, **SMALL)


def test_a_panel_that_changes_its_arguments_moves_no_other_panel():
    def greedy(x_t, t):
        value = -x_t.clone()
        x_t.detach().numpy()[:] = 0
        if torch.is_tensor(t):
            t.zero_()
        return value

    panels = ("DPS", "exact"), {"DPS": None, "mine": greedy, "exact": None}
    alone, beside = (GuidanceLab("moons", chosen, **SMALL) for chosen in panels)
    assert beside.status["failures"] == [""] * 3
    np.testing.assert_array_equal(particles(beside)[[0, 2]], particles(alone))


def test_a_network_in_a_panel_runs_in_evaluation_mode():
    network = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(2, 2)).train()
    first, second = (GuidanceLab("moons", {"mine": lambda x_t, t: network(x_t)}, **SMALL) for _ in range(2))
    np.testing.assert_array_equal(particles(first), particles(second))
    assert network.training and network[0].training


def test_work_that_fails_is_reported_and_a_later_setting_tries_again(monkeypatch):
    lab, broken = GuidanceLab("moons", **SMALL), True

    def energy(truth, x0):
        if broken:
            raise RuntimeError("out of memory")
        return x0[..., 0]

    monkeypatch.setattr(Mixture, "energy", energy)
    lab.scale = 2.0
    assert lab.status["busy"] == "Cannot draw this: RuntimeError: out of memory" and lab.readout == {}
    broken = False
    lab.scale = 3.0
    assert lab.status["busy"] == "" and lab.paths["scale"] == 3.0 and lab.readout


def test_networks_are_trained_on_the_spot_and_get_better():
    early, later = (GuidanceLab("8gaussians", ("CEP",), train_steps=n, **SMALL) for n in (2, 150))
    assert later.status["notes"] == ["trained for β = 3"]
    assert [len(lab.chart["times"]) for lab in (early, later)] == [6, 6] and None not in later.chart["errors"][0]
    errors = [np.mean(lab.chart["errors"][0]) for lab in (early, later)]
    assert errors[1] < 0.6 * errors[0]


def test_the_measures_of_the_exact_panel_are_at_the_level_of_chance():
    lab = GuidanceLab("8gaussians", particles=1000)
    assert lab.readout["mmd2"][0] < 3 * lab.readout["floor"] < lab.readout["mmd2"][1]
    assert max(lab.chart["errors"][0]) == 0 and lab.chart["errors"][3] == pytest.approx([1.0] * 26)


def test_pictures_travel_as_bytes_with_blanks():
    lab = GuidanceLab("8gaussians", {"exact": None, "mine": lambda x, t: -x}, **SMALL)
    target = np.frombuffer(lab.maps["target"]["data"], "u1").reshape(6, 49, 49)
    assert target.max() == 254 and lab.maps["target"]["high"] == [1.0] * 6
    energy = lab.maps["energies"][0]
    stored = np.frombuffer(energy["data"], "u1").reshape(6, 49, 49)
    assert (stored[-1] == 255).any() and not (stored[0] == 255).all() and energy["low"][-1] < 0 < energy["high"][-1]
    assert lab.maps["energies"][1] == {"data": None, "low": [], "high": []}  # a callable without an energy
    field = np.frombuffer(lab.maps["guidance"][1], "<f4").reshape(6, 25, 25, 2)
    assert field[0, 0, 0].tolist() == pytest.approx([4.5, 4.5])  # -x at the lower left corner


def test_closing_frees_everything_a_hundred_times_over(monkeypatch):
    monkeypatch.setattr("cepkit.lab.measures._LARGEST_SAMPLE", 20)
    toy, before, labs = make_toy("8gaussians"), len(registered), []
    for _ in range(100):
        lab = GuidanceLab(toy, ("exact",), particles=2, steps=1)
        labs.append(weakref.ref(lab))
        lab.close()
        del lab
    gc.collect()
    assert sum(ref() is not None for ref in labs) == 0 and len(registered) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"toy": "8gausians"}, "name: expected one of 8gaussians"),
        ({"toy": from_points(torch.zeros(3, 3), torch.zeros(3))}, "toy: expected a two-dimensional toy"),
        ({"estimators": ("exakt",)}, "estimators: expected one of"),
        ({"estimators": {"mine": "exact"}}, "estimators: expected a callable"),
        ({"steps": 0}, "steps: expected"),
        ({"particles": 10**6}, "particles: expected"),
        ({"beta": -1.0}, "beta: expected"),
        ({"train_steps": 0}, "train_steps: expected"),
    ],
)
def test_mistakes_are_named_at_the_start(arguments, message):
    with pytest.raises(ValueError, match=message):
        GuidanceLab(**({"toy": "moons"} | arguments))


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("beta", -1.0), ("method", "euler"), ("particles", 0), ("toy_name", "mons"), ("panels", ["exakt"])],
)
def test_a_wrong_setting_is_refused_by_name_and_leaves_the_lab_as_it_was(lab, name, value):
    before = getattr(lab, name)
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        setattr(lab, name, value)
    assert getattr(lab, name) == before


def test_a_value_from_the_browser_that_is_refused_leaves_the_old_one_and_is_taken_back_there():
    refused = {"steps": 0, "particles": 0, "beta": None, "method": "euler", "toy_name": "mons", "panels": ["a"], "heat": "b"}
    lab, sent = GuidanceLab("moons", **SMALL), []
    before, lab.send_state = {name: getattr(lab, name) for name in refused}, sent.append
    for name, value in refused.items():
        lab.set_state({name: value})
        assert getattr(lab, name) == before[name] and sent[-1] == [name]
    del lab.send_state
    lab.set_state({"steps": 7, "scale": 2.0})
    assert lab.paths["steps"] == 7 and lab.paths["scale"] == 2.0 and lab.status["busy"] == ""


def test_a_network_is_not_trained_before_its_first_step():
    async def open_it():
        return GuidanceLab("8gaussians", ("CEP", "exact"), train_steps=2, **SMALL)

    lab = asyncio.run(open_it())  # in an event loop only a first picture is made at once
    assert lab.status["notes"] == ["not trained yet", ""]
    lab.settle()
    assert lab.status["notes"] == ["trained for β = 3", ""]


def test_forty_callables_get_a_colour_each():
    lab = GuidanceLab("moons", {f"mine {k}": lambda x, t: -x for k in range(40)}, particles=2, steps=1)
    assert len(lab.setup["colours"]) == 40 and len(set(lab.setup["colours"])) == 4


def test_a_denoiser_of_ones_own_is_shared_by_all_panels_and_keeps_the_toy():
    toy = make_toy("moons")
    lab = GuidanceLab(
        toy, ("exact", "no guidance"), denoiser=ExactDenoiser(toy.truth.tilt(2.0), VPLinear()), particles=50, steps=5
    )
    plain = GuidanceLab(toy, ("exact", "no guidance"), particles=50, steps=5)
    assert lab.paths["data"] != plain.paths["data"]
    with pytest.raises(ValueError, match="toy_name: expected one of moons"):
        lab.toy_name = "rings"


def test_a_toy_of_one_mode_has_no_mode_masses_to_compare():
    assert GuidanceLab("8gaussians", **SMALL).readout["modes"][0] is not None
    lab = GuidanceLab("swissroll", **SMALL)
    assert lab.readout["modes"] == [None] * 4 and None not in lab.readout["energy"]


def test_guidance_of_ones_own_is_drawn_beside_the_built_in():
    toy = make_toy("moons")
    exact = ExactGuidance(toy.truth, 3.0, VPLinear())
    lab = GuidanceLab(toy, {"flipped": lambda x, t: -exact(x, t), "exact": None}, **SMALL)
    assert lab.chart["errors"][0] == pytest.approx([2.0] * 6, rel=1e-4)
    assert set(lab.setup["known"]) == {"flipped", *BUILT_IN}
