"""A run on points with energies. Its folder holds

config.json            settings, where the data came from and their checksum
weights.safetensors    the averaged weights, for `load_run`
state.safetensors      weights, optimiser and random streams, for `resume_run`
events.out.tfevents.*  losses, learning rate and, where the truth is known, guidance errors
"""

import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cepkit import __version__
from cepkit.diffusion.guidance import LearnedGuidance
from cepkit.learning.checkpoints import fill, load_tensors, make_folder, save_tensors, write_json
from cepkit.learning.data_source import DataSource, fingerprint
from cepkit.learning.loop import Stage, Training, TrainingConfig, build_networks, check_data
from cepkit.learning.networks import MLPDenoiser
from cepkit.learning.run import CONFIG, COPIES, Run, averages_of, read_written, step_of, weight_bytes
from cepkit.settings import Size, Steps
from cepkit.truth.metrics import ErrorProbe
from cepkit.truth.scaling import Scaling
from cepkit.truth.toys import Toy
from cepkit.validation import check_memory

_WEIGHTS, _STATE = "weights.safetensors", "state.safetensors"
_PROBE_POINTS, _PROBE_PAIRS = 2048, 2 * 10**8  # fewer points where the data have many
Data = DataSource | tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Written:
    """What config.json says, as `start_run` wrote it."""

    data: DataSource | None
    dim: Size
    sha256: str
    save_every: Steps
    training: TrainingConfig
    scaling: Scaling | None = None


class PointsRun(Run):
    """A run of one stage, `training`, on points with energies. See `start_run`, `resume_run`.

    Attributes:
        source, toy: where the points came from, None for arrays.
        scaling: how points of your own were moved to the scale of the noise, and the way back; None for the paper's toys.
    """

    def __init__(self, folder: Path, training: Training, data: "_Drawn", save_every: int) -> None:
        super().__init__(folder, save_every)
        self.training, self.stage = training, training
        self.source, self.toy, self.scaling = data.source, data.toy, data.scaling
        self._probe: ErrorProbe | None = None

    @property
    def finished(self) -> bool:
        return self.training.finished

    def left(self) -> Iterator[Stage]:
        yield self.training  # also when it is finished: it may have been killed between its last two files

    def state_path(self, stage: Stage) -> Path:
        return self.folder / _STATE

    def save(self) -> None:
        """Write state and weights as they are now."""
        super().save()
        self.finish(self.training)

    def finish(self, stage: Stage) -> None:
        save_tensors(self.folder / _WEIGHTS, averages_of(stage), {"step": str(stage.index)})

    def measured(self) -> dict[str, float]:
        """The learning rate, and the errors of the guidance where the truth is known."""
        config = self.training.config
        found = {"learning_rate": next(iter(self.training.fits.values())).learning_rate(self.training.index - 1)}
        if self.toy is None or "energy" not in config.parts:
            return found
        if self._probe is None:
            generator, truth = torch.Generator().manual_seed(config.seed), self.toy.truth
            n = min(_PROBE_POINTS, max(1, _PROBE_PAIRS // truth.components().count))
            self._probe = ErrorProbe(truth, config.beta, config.schedule, n=n, generator=generator)
        errors = self._probe(self.training.guidance).tolist()
        return found | {f"guidance_error/t_{t:g}": error for t, error in zip(self._probe.times, errors, strict=True)}


def start_run(
    folder: str | Path, config: TrainingConfig, data: DataSource | tuple[Tensor, Tensor], *, save_every: int = 250
) -> PointsRun:
    """Make a run in a new folder; nothing is trained yet.

    Args:
        data: a `DataSource`, or points (n, D) and energies (n,) of your own in any units (then `resume_run` must be given them
            again). Points far from unit scale are scaled, see `PointsRun.scaling`.

    Warns where beta leaves too few points their weight.

    Raises:
        ValueError: the folder holds a run already, or the data do not fit.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    if (folder / CONFIG).exists():
        raise ValueError(f"{folder}: holds a run already; resume it, or choose another folder")
    if not isinstance(data, DataSource) and not (isinstance(data, tuple) and len(data) == 2):
        raise ValueError(f"data: expected a DataSource or a pair (points, energies), got {type(data).__name__}")
    drawn = _draw(data)
    run = PointsRun(folder, drawn.train(config), drawn, save_every)
    written = {
        "cepkit": __version__,
        "data": run.source.to_dict() if run.source else None,
        "dim": drawn.x.shape[1],
        "sha256": drawn.sha256,
        "save_every": run.save_every,
        "training": config.to_dict(),
        "scaling": asdict(run.scaling) if run.scaling else None,
    }
    make_folder(folder)
    run.save()
    write_json(folder / CONFIG, written)
    return run


def resume_run(folder: str | Path, data: tuple[Tensor, Tensor] | None = None) -> PointsRun:
    """Open the run of a folder, ready to go on from its last save.

    Args:
        data: the points and energies, for a run that was started with such; elsewhere they are drawn again when left out.

    Raises:
        ValueError: no run there, files that do not read or belong to another architecture, or other data than the run's.
    """
    folder = Path(folder)
    written = read_written(folder, _Written)
    if written.data is None and data is None:
        raise ValueError(f"{folder}: was started with arrays of your own; pass the same points and energies as data")
    drawn = _draw_again(folder, written, data)
    run = PointsRun(folder, drawn.train(written.training), drawn, written.save_every)
    run.load(run.training, *load_tensors(folder / _STATE), folder / _STATE)
    return run


def _check_sizes(x: Tensor, config: TrainingConfig) -> None:
    """Refuse settings whose networks and batches need more memory than is free."""
    points = max(config.groups * config.contrasts, config.denoiser_groups * config.denoiser_samples)
    pairs = config.groups * config.contrasts**2 if config.pooled else 0
    batches = 4 * (pairs + points * (config.layers * config.width + 2 * config.waves))
    if x.ndim == 2:  # others are refused by `Training`
        weights = COPIES * weight_bytes(lambda: build_networks(x.shape[1], config))
        check_memory(weights + batches, "groups, contrasts, denoiser_groups, denoiser_samples, width, layers, waves")


class _Drawn(NamedTuple):
    """The points and energies to train on, where they came from, and a checksum."""

    x: Tensor
    energy: Tensor
    sha256: str
    scaling: Scaling | None
    source: DataSource | None = None
    toy: Toy | None = None

    def train(self, config: TrainingConfig) -> Training:
        """The training on them; warns where beta leaves too few of the rows of a file their weight."""
        _check_sizes(self.x, config)
        truth = None if self.toy is None else self.toy.truth
        if truth is None or self.toy.scaling is None:
            return Training(self.x, self.energy, config, truth=truth)
        if text := self.toy.few_points(config.beta):
            warnings.warn(text, stacklevel=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of draws, which repeat the rows
            return Training(self.x, self.energy, config, truth=truth)


def _draw(data: Data) -> _Drawn:
    if isinstance(data, DataSource):
        toy = data.toy()
        x, energy = data.draw(toy)
        return _Drawn(x, energy, fingerprint(x, energy), toy.scaling, data, toy)
    x, energy = data
    check_data(x, energy)
    scaling = Scaling.of(x.detach().double(), energy.detach().double())
    scaled = scaling(x.detach().double(), energy.detach().double()) if str(scaling) else (x, energy)
    return _Drawn(*scaled, fingerprint(x, energy), scaling)


def _draw_again(folder: Path, written: _Written, data: tuple[Tensor, Tensor] | None = None) -> _Drawn:
    """The data of a run, drawn again or given again.

    Raises:
        ValueError: they are others, or cannot be read.
    """
    try:
        drawn = _draw(written.data or data)
    except ValueError as error:
        raise ValueError(f"{folder}: expected the data the run was started with; {error}") from error
    given = drawn.sha256 if data is None else fingerprint(*check_data(*data))
    if {drawn.sha256, given} != {written.sha256}:
        known = f"SHA-256 {written.sha256[:12]}..."
        where = f" from {written.data.name}" if written.data and data is None else ""
        raise ValueError(f"{folder}: expected the data the run was started with ({known}), got others{where}")
    return drawn


@dataclass(frozen=True)
class LoadedRun:
    """The result of a run; the networks are None where the run did not train them.

    Attributes:
        denoiser: the averaged denoiser, on the CPU, with frozen weights.
        guidance: a `LearnedGuidance`: `guidance(x_t, t)` is -grad f.
        config: the settings.
        source: where the data came from, None for arrays.
        step: steps taken when the weights were saved.
        scaling: how points of your own were moved to the scale of the noise: `run.scaling.undo(samples)` leads back. None for the
            paper's toys.
    """

    denoiser: MLPDenoiser | None
    guidance: LearnedGuidance | None
    config: TrainingConfig
    source: DataSource | None
    step: int
    scaling: Scaling | None = None


def load_toy(folder: str | Path) -> Toy:
    """The toy that a run was trained on, with its truth.

    Raises:
        ValueError: no run there, one on arrays, or a CSV file that has changed since or is gone.
    """
    folder = Path(folder)
    written = read_written(folder, _Written)
    if written.data is None:
        raise ValueError(f"{folder}: was trained on arrays, so there is no truth to show; use load_run and cepkit.truth.metrics")
    return _draw_again(folder, written).toy if written.data.is_file else written.data.toy()


def load_run(folder: str | Path) -> LoadedRun:
    """Read the networks of a run folder, finished or not.

    Raises:
        ValueError: no run there, or files that do not read or belong to another architecture.
    """
    folder = Path(folder)
    written, path = read_written(folder, _Written), folder / _WEIGHTS
    config = written.training
    check_memory(weight_bytes(lambda: build_networks(written.dim, config)), f"{folder / CONFIG}: width, layers, waves")
    tensors, metadata = load_tensors(path)
    networks = build_networks(written.dim, config)
    fill(networks, tensors, path)
    guidance = LearnedGuidance(networks["energy"], config.schedule) if "energy" in networks else None
    step = step_of(metadata, config.steps, path)
    return LoadedRun(networks.get("denoiser"), guidance, config, written.data, step, written.scaling)
