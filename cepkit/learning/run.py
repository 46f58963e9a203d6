"""Stages of training in a folder: saved on the way, logged for TensorBoard, killed at any moment and taken up again.

Every file but the log is replaced as a whole. A killed run goes on from its last save and ends, on CPU, with the same weights to
the bit (layers larger than `cepkit.learning.loop.NARROW`: with the same number of threads).
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from cepkit.learning.checkpoints import check_same_tensors, make_folder, read_json, save_tensors
from cepkit.learning.log import EventLog
from cepkit.learning.loop import NonFiniteLoss, Stage, TrainingStep
from cepkit.validation import check_number

CONFIG = "config.json"
_LOG_EVERY = 25
T = TypeVar("T")
COPIES = 4  # of each weight: itself, its average, and two of Adam


def read_written(folder: Path, kind: type[T]) -> T:
    """Read the config.json of a run folder as a dataclass.

    Raises:
        ValueError: no run there, or a file that does not read; the message names file, key, expectation and value.
    """
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: expected a run folder with {CONFIG}, found none")
    return read_json(folder / CONFIG, kind)


def weight_bytes(make: Callable[[], Mapping[str, nn.Module]]) -> int:
    """The bytes that the networks of `make` take; nothing is allocated."""
    with torch.device("meta"):
        return sum(value.nbytes for network in make().values() for value in network.state_dict().values())


def state_of(stage: Stage) -> dict[str, Tensor]:
    """All that a stage needs to go on, by name: weights, their averages, optimisers and random streams.

    Raises:
        NonFiniteLoss: a loss or a weight is NaN or infinite.
    """
    stage.check_finite()
    found = dict(stage.extras)
    for name, fit in stage.fits.items():
        if not bool(torch.stack([weight.isfinite().all() for weight in fit.parameters.values()]).all()):
            raise NonFiniteLoss(f"{stage.name} stage stopped at step {stage.index}: a weight of the {name} network is not finite")
        for kind, network in (("network", fit.network), ("average", fit.average)):
            found |= {f"{name}.{kind}.{key}": value for key, value in network.state_dict().items()}
        for key, parameter in fit.parameters.items():
            found |= {f"{name}.adam.{key}.{part}": value for part, value in fit.adam.state[parameter].items()}
    return found | {name: generator.get_state() for name, generator in stage.generators.items()}


def restore(stage: Stage, tensors: Mapping[str, Tensor], index: int) -> None:
    """Give a fresh stage the state that `state_of` returned after `index` steps."""
    for name, generator in stage.generators.items():
        generator.set_state(tensors[name].cpu())
    for name, value in stage.extras.items():
        value.copy_(tensors[name])
    for name, fit in stage.fits.items():
        for kind, network in (("network", fit.network), ("average", fit.average)):
            network.load_state_dict({key: tensors[f"{name}.{kind}.{key}"] for key in network.state_dict()})
        for key, parameter in fit.parameters.items():
            for part, value in fit.adam.state[parameter].items():
                value.copy_(tensors[f"{name}.adam.{key}.{part}"])
        fit.index = int(fit.adam.state[parameter]["step"])
    stage.index = index


def averages_of(stage: Stage) -> dict[str, Tensor]:
    """The averaged weights of a stage, <network>.<weight>."""
    return {f"{name}.{key}": value for name, fit in stage.fits.items() for key, value in fit.average.state_dict().items()}


def step_of(metadata: Mapping[str, str], steps: int, path: Path) -> int:
    """The step at which a file was saved.

    Raises:
        ValueError: the file does not say, or none from 0 to `steps`.
    """
    try:
        return check_number(int(metadata["step"]), name="step", low=0, high=steps, integer=True)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected its step, from 0 to {steps}, got {metadata.get('step')!r}") from error


class Run:
    """Stages of training in a folder. Iterate to train through those that are left, saving on the way and after each.

    A subclass yields the stages (`left`), places their state (`state_path`) and writes their results (`finish`).

    Attributes:
        folder: of the run.
        save_every: steps of a stage between two saves.
        stage: the one in progress, None before the first step.
    """

    def __init__(self, folder: Path, save_every: int) -> None:
        self.folder = folder
        self.save_every = check_number(save_every, name="save_every", low=1, integer=True)
        self.stage: Stage | None = None

    def left(self) -> Iterator[Stage]:
        """The stages that are not done, each made when those before it are."""
        raise NotImplementedError

    def state_path(self, stage: Stage) -> Path:
        """The file that a stage goes on from."""
        raise NotImplementedError

    def log_folder(self, stage: Stage) -> Path:
        """The folder of a stage's log."""
        return self.folder

    def measured(self) -> dict[str, float]:
        """Further values to log at each save."""
        return {}

    def finish(self, stage: Stage) -> None:
        """Write the result of a stage after its last step."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[TrainingStep]:
        """Train to the end of the last stage, yielding each step.

        Raises:
            NonFiniteLoss: a loss or weight is NaN or infinite; the last save stays.
            OSError: the folder cannot be written or the disk is full; the last save stays.
        """
        for stage in self.left():
            self.stage = stage
            every = stage.save_every or self.save_every
            with EventLog(make_folder(self.log_folder(stage)), stage.index) as log:
                for step in stage:
                    if step.index % _LOG_EVERY == 0 or stage.finished:
                        _log_step(log, stage, step)
                    if step.index % every == 0 or stage.finished:
                        for name, value in self.measured().items():
                            log.add(name, value, step.index)
                        log.flush()
                        self.save()
                    yield step
            self.finish(stage)

    def save(self) -> None:
        """Write the state of the stage in progress as it is now."""
        if self.stage is not None:
            save_tensors(self.state_path(self.stage), state_of(self.stage), {"step": str(self.stage.index)})

    def load(self, stage: Stage, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> Stage:
        """Let a fresh stage go on from the contents of the state file `path`.

        Raises:
            ValueError: it belongs to another architecture, or does not say its step.
        """
        check_same_tensors(tensors, state_of(stage), path)
        try:
            restore(stage, tensors, step_of(metadata, stage.steps, path))
        except RuntimeError as error:  # torch's word for a random state that is none
            raise ValueError(f"{path}: holds a random state that does not load ({error})") from error
        return stage


def _log_step(log: EventLog, stage: Stage, step: TrainingStep) -> None:
    for name, loss in step.losses.items():
        log.add(f"loss/{stage.terms.get(name, name)}", float(loss), step.index)
    for name, value in step.info.items():
        log.add(name, float(value), step.index)
