"""A training run in a folder: settings, weights, the state to resume from, and a log that TensorBoard reads.

    config.json            settings, where the data came from and their checksum
    weights.safetensors    the averaged weights, what `load_run` uses
    state.safetensors      weights, optimiser and random streams, what `resume_run` uses
    events.out.tfevents.*  losses, learning rate and, where the truth is known, guidance errors

Every file but the log is replaced as a whole. A run killed at any moment goes on from its last save and ends, on CPU,
with the same weights to the bit (networks wider than `cepkit.learning.loop.NARROW`: with the same number of threads).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cepkit import __version__
from cepkit.diffusion.guidance import LearnedGuidance
from cepkit.learning.checkpoints import check_same_tensors, fill, load_tensors, read_settings, save_tensors, write_atomically
from cepkit.learning.config import TrainingConfig
from cepkit.learning.data_source import DataSource, fingerprint
from cepkit.learning.log import EventLog
from cepkit.learning.loop import Training, TrainingStep, build_networks
from cepkit.learning.networks import MLPDenoiser, MLPEnergy
from cepkit.truth.metrics import ErrorProbe
from cepkit.validation import check_number

_CONFIG, _WEIGHTS, _STATE = "config.json", "weights.safetensors", "state.safetensors"
_LOG_EVERY = 25
_PROBE_POINTS = 2048
Data = DataSource | tuple[Tensor, Tensor]


class Run:
    """A run and its folder; iterate to train, saving every `save_every` steps and at the end. See `start_run`, `resume_run`."""

    def __init__(self, folder: Path, training: Training, source: DataSource | None, save_every: int) -> None:
        self.folder, self.training, self.source = folder, training, source
        self.save_every = check_number(save_every, name="save_every", low=1, integer=True)
        self._saved: int | None = None
        self._probe: ErrorProbe | None = None

    @property
    def finished(self) -> bool:
        return self.training.index >= self.training.config.steps

    def __iter__(self) -> Iterator[TrainingStep]:
        """Train to the last step, yielding each.

        Raises:
            NonFiniteLoss: the last save stays.
            OSError: the folder cannot be written or the disk is full; the last save stays.
        """
        with EventLog(self.folder, self.training.index) as log:
            for step in self.training:
                last = step.index == self.training.config.steps
                if step.index % _LOG_EVERY == 0 or last:
                    _log_step(log, step, self.training.config)
                if step.index % self.save_every == 0 or last:
                    self._log_errors(log)
                    log.flush()
                    self.save()
                yield step
        self.save()  # a finished run that was killed between its last two files is completed here

    def save(self) -> None:
        """Write weights and state as they are now, unless this `Run` has just done so."""
        if self._saved == self.training.index:
            return
        tensors, metadata = self.training.tensors(), {"step": str(self.training.index)}
        save_tensors(self.folder / _STATE, tensors, metadata)
        averages = {name.replace(".average.", ".", 1): value for name, value in tensors.items() if ".average." in name}
        save_tensors(self.folder / _WEIGHTS, averages, metadata)
        self._saved = self.training.index

    def _log_errors(self, log: EventLog) -> None:
        config = self.training.config
        if self.source is None or "energy" not in config.parts:
            return
        if self._probe is None:
            generator = torch.Generator().manual_seed(config.seed)
            truth = self.source.toy().truth
            self._probe = ErrorProbe(truth, config.beta, config.schedule, n=_PROBE_POINTS, generator=generator)
        for t, error in zip(self._probe.times, self._probe(self.training.guidance).tolist(), strict=True):
            log.add(f"guidance_error/t_{t:g}", error, self.training.index)


def _log_step(log: EventLog, step: TrainingStep, config: TrainingConfig) -> None:
    values = {"loss/denoising": step.denoiser_loss, f"loss/{config.objective}": step.energy_loss, **step.info}
    for name, value in values.items():
        if value is not None:
            log.add(name, float(value), step.index)
    log.add("learning_rate", step.learning_rate, step.index)


def start_run(folder: str | Path, config: TrainingConfig, data: Data, *, save_every: int = 250) -> Run:
    """A new run in a folder, which is made; nothing is trained yet.

    Args:
        data: a `DataSource`, or points (n, D) and energies (n,) of your own (then `resume_run` must be given them again).

    Raises:
        ValueError: the folder holds a run already, or the data do not fit.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    if (folder / _CONFIG).exists():
        raise ValueError(f"{folder}: holds a run already; resume it, or choose another folder")
    source, (x, energy) = _open(data)
    run = Run(folder, Training(x, energy, config), source, save_every)
    written = {
        "cepkit": __version__,
        "data": None if source is None else source.to_dict(),
        "dim": x.shape[1],
        "sha256": fingerprint(x, energy),
        "save_every": run.save_every,
        "training": config.to_dict(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"could not make the folder {folder} ({error.strerror})") from error
    run.save()
    write_atomically(folder / _CONFIG, (json.dumps(written, indent=2) + "\n").encode())
    return run


def _open(data: Data) -> tuple[DataSource | None, tuple[Tensor, Tensor]]:
    if isinstance(data, DataSource):
        return data, data.draw()
    if not isinstance(data, tuple) or len(data) != 2:
        raise ValueError(f"data: expected a DataSource or a pair (points, energies), got {type(data).__name__}")
    return None, data


def resume_run(folder: str | Path, data: tuple[Tensor, Tensor] | None = None) -> Run:
    """The run of a folder, ready to go on from its last save.

    Args:
        data: the points and energies, for a run that was started with such; elsewhere they are drawn again when left out.

    Raises:
        ValueError: no run there, files that do not read or belong to another architecture, or other data than the run's.
    """
    folder = Path(folder)
    written = _read_config(folder)
    config = TrainingConfig.from_dict(written["training"])
    if written["data"] is None and data is None:
        raise ValueError(f"{folder}: was started with arrays of your own; pass the same points and energies as data")
    source = None if written["data"] is None else DataSource.from_dict(written["data"])
    _, (x, energy) = _open(source if data is None else data)
    training = Training(x, energy, config)
    if fingerprint(x, energy) != written["sha256"]:
        raise ValueError(
            f"{folder}: expected the data the run was started with (SHA-256 {written['sha256'][:12]}...), got others"
        )
    tensors, metadata = load_tensors(folder / _STATE)
    check_same_tensors(tensors, training.tensors(), folder / _STATE)
    step = _step_of(metadata, config, folder / _STATE)
    try:
        training.load_tensors(tensors, step)
    except RuntimeError as error:  # torch's word for a random state that is none
        raise ValueError(f"{folder / _STATE}: holds a random state that does not load ({error})") from error
    return Run(folder, training, source, written["save_every"])


def _read_config(folder: Path) -> dict:
    return read_settings(folder / _CONFIG, ("data", "dim", "sha256", "save_every", "training"))


def _step_of(metadata: dict[str, str], config: TrainingConfig, path: Path) -> int:
    try:
        return check_number(int(metadata["step"]), name="step", low=0, high=config.steps, integer=True)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected its step, from 0 to {config.steps}, got {metadata.get('step')!r}") from error


@dataclass(frozen=True)
class LoadedRun:
    """What a run has learned; the networks are None where the run did not train them.

    Attributes:
        denoiser: the averaged denoiser, on the CPU, with frozen weights.
        guidance: a `LearnedGuidance`: `guidance(x_t, t)` is -grad f.
        config: the settings.
        source: where the data came from, None for arrays.
        step: steps taken when the weights were saved.
    """

    denoiser: MLPDenoiser | None
    guidance: LearnedGuidance | None
    config: TrainingConfig
    source: DataSource | None
    step: int


def load_run(folder: str | Path) -> LoadedRun:
    """The networks of a run folder, finished or not.

    Raises:
        ValueError: no run there, or files that do not read or belong to another architecture.
    """
    folder = Path(folder)
    written = _read_config(folder)
    config = TrainingConfig.from_dict(written["training"])
    path = folder / _WEIGHTS
    tensors, metadata = load_tensors(path)
    networks = build_networks(check_number(written["dim"], name="dim", low=1, integer=True), config)
    unknown = sorted({name.split(".")[0] for name in tensors} - set(networks))
    if unknown:
        raise ValueError(f"{path}: holds weights of {', '.join(unknown)}, which this run does not have")
    for part, network in networks.items():
        mine = {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}
        fill(network.eval().requires_grad_(False), mine, path)
    energy_net: MLPEnergy | None = networks.get("energy")
    return LoadedRun(
        networks.get("denoiser"),
        None if energy_net is None else LearnedGuidance(energy_net, config.schedule),
        config,
        None if written["data"] is None else DataSource.from_dict(written["data"]),
        _step_of(metadata, config, path),
    )
