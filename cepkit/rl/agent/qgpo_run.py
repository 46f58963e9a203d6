"""A QGPO run in a folder: settings, each stage's state and weights, and a log that TensorBoard reads.

    config.json                     settings, and name and fingerprint of the data
    behaviour.state.safetensors     a stage in progress: weights, optimiser and random stream, what `resume_run` uses
    behaviour.safetensors           what a finished stage leaves: weights, what `load_run` uses
    support-<key>.safetensors       the support actions, under a key of all they depend on
    critic.safetensors, cloning.safetensors    likewise; a stage's state goes when the stage is done
    log/<stage>/events.out.tfevents.*          losses, a TensorBoard run for each stage

Every file but the log is replaced as a whole. A run killed at any moment, in any stage, goes on from its last save and ends,
on CPU, with the same weights to the bit (with the same number of threads).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from cepkit.learning.checkpoints import check_same_tensors, load_tensors, save_tensors
from cepkit.learning.log import EventLog
from cepkit.rl.agent.action_support import SupportSampling, load_support, save_support, support_key, support_path
from cepkit.rl.agent.baselines import CloningTraining
from cepkit.rl.agent.behaviour import BehaviourTraining
from cepkit.rl.agent.critic import CriticTraining
from cepkit.rl.agent.prepared import Prepared, prepare
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.agent.run_folder import CONFIG, load_part, load_run, log_folder, read_config, write_config
from cepkit.rl.agent.stage import Stage, StageStep
from cepkit.rl.data.transitions import Transitions
from cepkit.validation import check_number

STAGES = ("behaviour", "support", "critic", "cloning")
_LOG_EVERY = 25


class QGPORun:
    """A run and its folder; iterate to train through every stage. See `start_run`, `resume_run`.

    Attributes:
        stage: the stage being trained, None before the first step and after the last.
        data: the transitions as the stages see them.
        networks: what finished stages have left, by part.
        support: the support actions, once drawn.
    """

    def __init__(self, folder: Path, config: QGPOConfig, transitions: Transitions, save_every: int) -> None:
        self.folder, self.config = folder, config
        self.save_every = check_number(save_every, name="save_every", low=1, integer=True)
        self.data: Prepared = prepare(transitions, config)
        self.fingerprint = transitions.fingerprint()
        self.stage: Stage | None = None
        self.networks: dict[str, torch.nn.Module] = {}
        self.support: Tensor | None = None

    @property
    def finished(self) -> bool:
        """Whether every stage is done."""
        return all((self.folder / f"{name}.safetensors").exists() for name in self.stages if name != "support")

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of this run's stages, in their order."""
        return tuple(name for name in STAGES if name != "cloning" or self.config.cloning_steps)

    @property
    def qgpo(self) -> QGPO:
        """The result, once every stage is done."""
        return load_run(self.folder, device=self.data.device)

    def __iter__(self) -> Iterator[StageStep]:
        """Train to the end of the last stage, yielding each step.

        Raises:
            NonFiniteLoss: a loss or weight is NaN or infinite; the last save stays.
            OSError: the folder cannot be written or the disk is full; the last save stays.
        """
        for name in self.stages:
            if self.has_result(name):
                continue
            self.stage = self._make(name)
            self._load_state()
            yield from followed(self.stage, log_folder(self.folder, name), self.save_every, self.save)
            self.write_result(name, result_of(self.stage))
            self.remove_state(name)
            self.stage = None

    def has_result(self, name: str) -> bool:
        """Whether a stage is done; its result is then read, for the stages that need it."""
        path = self.result_path(name)
        if name == "support":
            shape = (len(self.data.states), self.config.support_actions, self.data.actions.shape[1])
            found = load_support(path, self._key, shape)
            self.support = None if found is None else found.to(self.data.device)
            return found is not None
        if not path.exists():
            return False
        self.networks |= load_part(path, name, self._sizes, self.config, self.data.device)
        return True

    @property
    def _key(self) -> str:
        return support_key(self.networks["behaviour"].state_dict(), self.fingerprint, self.config)

    def result_path(self, name: str) -> Path:
        """The file that a finished stage leaves."""
        return support_path(self.folder, self._key) if name == "support" else self.folder / f"{name}.safetensors"

    def state_path(self, name: str) -> Path:
        """The file of a stage in progress."""
        return self.folder / f"{name}.state.safetensors"

    def write_result(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Write what a finished stage leaves, as `result_of` gives it, and read it back."""
        if name == "support":
            save_support(self.result_path(name), tensors["actions"], self._key)
        else:
            extra = {"mean": self.data.mean, "std": self.data.std} if name == "behaviour" else {}
            save_tensors(self.result_path(name), tensors | extra, {})
        self.has_result(name)

    def remove_state(self, name: str) -> None:
        """Remove the state of a stage whose result is written."""
        self.state_path(name).unlink(missing_ok=True)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.data.states.shape[1], self.data.actions.shape[1]

    def _make(self, name: str) -> Stage:
        if name == "behaviour":
            return BehaviourTraining(self.data, self.config)
        if name == "support":
            return SupportSampling(self.data, self.networks["behaviour"], self.config)
        if name == "critic":
            return CriticTraining(self.data, self.support, self.config)
        return CloningTraining(self.data, self.config)

    def save(self) -> None:
        """Write the state of the stage in progress as it is now."""
        if self.stage is not None:
            save_tensors(self.state_path(self.stage.name), self.stage.tensors(), {"step": str(self.stage.index)})

    def _load_state(self) -> None:
        path = self.state_path(self.stage.name)
        if not path.exists():
            return
        tensors, metadata = load_tensors(path)
        check_same_tensors(tensors, self.stage.tensors(), path)
        try:
            step = check_number(int(metadata["step"]), name="step", low=0, high=self.stage.steps, integer=True)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path}: expected its step, from 0 to {self.stage.steps}, got {metadata.get('step')!r}") from error
        try:
            self.stage.load_tensors(tensors, step)
        except RuntimeError as error:  # torch's word for a random state that is none
            raise ValueError(f"{path}: holds a random state that does not load ({error})") from error


def followed(stage: Stage, folder: Path, save_every: int, save: Callable[[], None]) -> Iterator[StageStep]:
    """The steps of a stage, logged to a folder and saved on the way and at the end."""
    every = max(1, stage.steps // 10) if stage.name == "support" else save_every
    with EventLog(folder, stage.index) as log:
        for step in stage:
            if step.index % _LOG_EVERY == 0 or stage.finished:
                for part, loss in step.losses.items():
                    log.add(f"loss/{part}", float(loss), step.index)
            if step.index % every == 0 or stage.finished:
                log.flush()
                save()
            yield step


def result_of(stage: Stage) -> dict[str, Tensor]:
    """What a finished stage leaves: averaged weights as <part>.<name> (and q_std), or support actions."""
    stage.check_finite()
    if isinstance(stage, SupportSampling):
        return {"actions": stage.actions}
    weights = {f"{part}.{name}": v for part, fit in stage.fits.items() for name, v in fit.average.state_dict().items()}
    return weights | ({"q_std": stage.q_std} if isinstance(stage, CriticTraining) else {})


def start_run(folder: str | Path, config: QGPOConfig, transitions: Transitions, *, save_every: int = 1000) -> QGPORun:
    """A new run in a folder, which is made; nothing is trained yet.

    Args:
        transitions: the data, on the device to train on.
        save_every: steps of a stage between two saves.

    Raises:
        ValueError: the folder holds a run already, or the data do not fit.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    if (folder / CONFIG).exists():
        raise ValueError(f"{folder}: holds a run already; resume it, or choose another folder")
    run = QGPORun(folder, config, transitions, save_every)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"could not make the folder {folder} ({error.strerror})") from error
    write_config(folder, config, transitions, run.fingerprint, run.save_every)
    return run


def resume_run(folder: str | Path, transitions: Transitions, config: QGPOConfig | None = None) -> QGPORun:
    """The run of a folder, ready to go on from its last save.

    Args:
        transitions: the data that the run was started with.
        config: if given, what the run must have been started with.

    Raises:
        ValueError: no run there, another configuration, other data, or files that do not read.
    """
    folder = Path(folder)
    written = read_config(folder)
    own = QGPOConfig.from_dict(written["qgpo"])
    if config is not None and config != own:
        mine, other = config.to_dict(), own.to_dict()
        changed = ", ".join(f"{name} ({other[name]!r}, not {mine[name]!r})" for name in mine if mine[name] != other[name])
        raise ValueError(f"{folder}: holds a run of another configuration: {changed}; choose another folder")
    run = QGPORun(folder, own, transitions, written["save_every"])
    if run.fingerprint != written["data"]["sha256"]:
        raise ValueError(
            f"{folder}: expected the data the run was started with, {written['data']['name']} "
            f"(SHA-256 {written['data']['sha256'][:12]}...), got others"
        )
    return run
