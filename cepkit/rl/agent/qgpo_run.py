"""A QGPO run in a folder, or runs of several seeds trained together. The folder of a run holds

    config.json                     settings, name and fingerprint of the data, and the seeds that were started together
    <stage>.safetensors             the result of a finished stage: weights, for `load_run`, or the support actions
    <stage>.state.safetensors       a stage in progress: weights, optimiser and random stream, for `resume_run`
    log/<stage>/events.out.tfevents.*    losses, a TensorBoard run for each stage

Networks this small leave a GPU idle, so several seeds are stacked and run through the same matrix products. Each ends with the
weights of a run alone to within rounding, in a run folder seed-<n> of its own. The folder above holds their log, and their state
in one file, <stage>.seed-<first>.state.safetensors.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from cepkit import __version__
from cepkit.learning import checkpoints
from cepkit.learning.checkpoints import check_same_tensors, fill, load_tensors, save_tensors
from cepkit.learning.loop import Stage
from cepkit.learning.run import CONFIG, Run, averages_of, weight_bytes
from cepkit.rl.agent.agent_networks import make_networks
from cepkit.rl.agent.baselines import CloningTraining
from cepkit.rl.agent.behaviour import BehaviourTraining, SupportSampling
from cepkit.rl.agent.critic import CriticTraining
from cepkit.rl.agent.estimate import check_sizes
from cepkit.rl.agent.prepared import prepare
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.qgpo_config import STREAMS as STAGES
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.agent.run_folders import read_config, run_folders, seed_folder
from cepkit.rl.agent.stage import AgentStage
from cepkit.rl.data.transitions import Transitions
from cepkit.validation import check_memory, check_number

_BUILT_ON = {"behaviour": ("support", "critic"), "support": ("critic",)}  # results that a new result makes stale
_STATE = ".state.safetensors"


class QGPORun(Run):
    """Iterate to train through every stage; losses of several seeds are their means. See `start_run`, `resume_run`.

    Attributes:
        folders: the run folder of each seed; for a single seed that is `folder`, else `folder` holds them.
        seeds: in their order.
        config: the settings, with the first seed.
        stages: the names of the stages, in their order.
        data: the transitions as the stages see them.
    """

    def __init__(self, configs: Mapping[Path, QGPOConfig], transitions: Transitions, save_every: int, together: Sequence[int]):
        self.folders = tuple(configs)
        super().__init__(self.folders[0] if len(configs) == 1 else self.folders[0].parent, save_every)
        self.seeds = tuple(config.seed for config in configs.values())
        self.config = configs[self.folders[0]]
        self.stages = tuple(name for name in STAGES if name != "cloning" or self.config.cloning_steps)
        sizes = (transitions.observations.shape[1], transitions.actions.shape[1])
        check_sizes(self.config, len(transitions), sizes, seeds=len(self.seeds))
        self.data = prepare(transitions, self.config)
        self.fingerprint = transitions.fingerprint()
        self._together = tuple(together) or self.seeds  # when they were started

    @property
    def finished(self) -> bool:
        """Whether every stage is done."""
        return all(self._done(name) for name in self.stages)

    @property
    def qgpos(self) -> list[QGPO]:
        """The results of the seeds in their order, once every stage is done."""
        return [load_run(folder, device=self.data.device) for folder in self.folders]

    @property
    def qgpo(self) -> QGPO:
        """The result of the first seed."""
        return self.qgpos[0]

    def _done(self, name: str) -> bool:
        """Whether a stage has left its result, or support actions are needed no more."""
        done = all((folder / f"{name}.safetensors").exists() for folder in self.folders)
        return done or (name == "support" and self._done("critic"))

    def left(self) -> Iterator[Stage]:
        for name in self.stages:
            if self._done(name):
                self._state_of(name).unlink(missing_ok=True)  # of a run killed between its last two files
            else:
                yield self.stage if self.stage is not None and self.stage.name == name else self._opened(self._make(name))

    def _make(self, name: str) -> AgentStage:
        seeds = None if len(self.seeds) == 1 else self.seeds
        if name == "behaviour":
            return BehaviourTraining(self.data, self.config, seeds)
        if name == "cloning":
            return CloningTraining(self.data, self.config, seeds)
        before = "behaviour" if name == "support" else "support"
        paths = [folder / f"{before}.safetensors" for folder in self.folders]
        found = [load_tensors(path)[0] for path in paths]
        result = found[0] if seeds is None else {key: torch.stack([each[key] for each in found]) for key in found[0]}
        if name == "support":
            networks = make_networks(before, self.data.sizes, self.config, self.config.seed if seeds is None else seeds)
            fill(networks, {key: value for key, value in result.items() if "." in key}, paths[0])
            return SupportSampling(self.data, networks["behaviour"].to(self.data.device), self.config, seeds)
        lead = () if seeds is None else (len(seeds),)
        shape = (*lead, len(self.data.states), self.config.support_actions, self.data.sizes[1])
        check_same_tensors(result, {"actions": torch.empty(shape, device="meta")}, paths[0], finite=True)
        return CriticTraining(self.data, result["actions"].to(self.data.device), self.config, seeds)

    def _opened(self, stage: AgentStage) -> AgentStage:
        """Let a fresh stage go on from its state file, where there is one."""
        path = self.state_path(stage)
        stacked = _stack_path(self.folder.parent, stage.name, self._together)
        if path.exists():
            self.load(stage, *load_tensors(path), path)
        elif len(self.seeds) < len(self._together) and stacked.exists():  # a seed that goes on alone
            tensors, metadata = load_tensors(stacked)
            self.load(stage, _member(tensors, self._together.index(self.seeds[0])), metadata, stacked)
        if len(self.seeds) > 1:
            left = [_STATE] if stage.finished else [_STATE, ".safetensors"]
            alone = [folder.name for folder in self.folders if any((folder / f"{stage.name}{end}").exists() for end in left)]
            if alone:
                text = f"expected seeds trained together so far, but {alone[0]} went on alone in the {stage.name} stage"
                raise ValueError(f"{self.folder}: {text}; resume them one by one")
        return stage

    def state_path(self, stage: Stage) -> Path:
        return self._state_of(stage.name)

    def _state_of(self, name: str) -> Path:
        return self.folder / f"{name}{_STATE}" if len(self.seeds) == 1 else _stack_path(self.folder, name, self.seeds)

    def log_folder(self, stage: Stage) -> Path:
        return self.folder / "log" / stage.name

    def finish(self, stage: Stage) -> None:
        """Write the result of a stage for each seed; its state goes last, so that a kill on the way leaves one or the other."""
        result = averages_of(stage) | stage.extras
        scale = {"mean": self.data.mean, "std": self.data.std} if stage.name == "behaviour" else {}
        for index, folder in enumerate(self.folders):
            for later in _BUILT_ON.get(stage.name, ()):
                (folder / f"{later}.safetensors").unlink(missing_ok=True)
            mine = result if len(self.seeds) == 1 else _member(result, index)
            save_tensors(folder / f"{stage.name}.safetensors", mine | scale, {})
        self.state_path(stage).unlink(missing_ok=True)
        self.stage = None


def _stack_path(folder: Path, name: str, seeds: Sequence[int]) -> Path:
    return folder / f"{name}.seed-{seeds[0]}{_STATE}"


def _member(tensors: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """The tensors of one member of a stack; Adam's counter is one for all members."""
    return {name: value if name.endswith(".step") else value[index] for name, value in tensors.items()}


def start_run(
    folder: str | Path,
    config: QGPOConfig,
    transitions: Transitions,
    *,
    seeds: Sequence[int] | None = None,
    save_every: int = 1000,
) -> QGPORun:
    """Make a new run in a folder, or in folders seed-<n>; nothing is trained yet.

    Args:
        transitions: the data, on the device to train on.
        seeds: different whole numbers, whose runs are trained together in folders seed-<n> in `folder`; without, one run of
            `config.seed` in `folder` itself.
        save_every: steps of a stage between two saves.

    Raises:
        ValueError: seeds that are none or repeat, a folder that holds a run already, or data that do not fit.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    configs = {folder: config}
    if seeds is not None:
        seeds = [check_number(seed, name="seeds", low=0, integer=True) for seed in seeds]
        if not seeds or len(set(seeds)) != len(seeds):
            raise ValueError(f"seeds: expected at least one whole number, each once, got {tuple(seeds)!r}")
        configs = {seed_folder(folder, seed): config.with_seed(seed) for seed in seeds}
    for each in configs:
        if (each / CONFIG).exists():
            raise ValueError(f"{each}: holds a run already; resume it, or choose another folder")
    run = QGPORun(configs, transitions, save_every, seeds or ())
    _write_configs(run, configs, transitions)
    return run


def _write_configs(run: QGPORun, configs: Mapping[Path, QGPOConfig], transitions: Transitions) -> None:
    for folder, config in configs.items():
        if not (folder / CONFIG).exists():
            written = {
                "cepkit": __version__,
                "data": {"name": transitions.name, "sha256": run.fingerprint, "transitions": len(transitions)},
                "state_dim": transitions.observations.shape[1],
                "action_dim": transitions.actions.shape[1],
                "save_every": run.save_every,
                "seeds": list(run.seeds),
                "qgpo": config.to_dict(),
            }
            checkpoints.write_json(checkpoints.make_folder(folder) / CONFIG, written)


def resume_run(folder: str | Path, transitions: Transitions, *, seeds: Sequence[int] | None = None) -> QGPORun:
    """Open the run of a folder, or the runs in it that were started together, ready to go on from the last save.

    Args:
        transitions: the data that the run was started with.
        seeds: of the runs to go on with; all that the folder holds when left out.

    Raises:
        ValueError: no run there, seeds that were not started together, other data, or files that do not read.
    """
    folder = Path(folder)
    if seeds is not None and len(seeds) == 1:
        folder, seeds = seed_folder(folder, seeds[0]), None
    first = run_folders(folder)[0] if seeds is None else seed_folder(folder, seeds[0])
    written = read_config(first)
    config = written.qgpo
    together = tuple(written.seeds or [config.seed])
    configs = {first: config}
    if first != folder:
        asked = [int(each.name.removeprefix("seed-")) for each in run_folders(folder)] if seeds is None else seeds
        if not set(asked) <= set(together) or (seeds is not None and len(seeds) < len(together)):
            given, known = (", ".join(map(str, part)) for part in (asked, together))
            raise ValueError(
                f"{folder}: expected seeds that were started together ({known}), got {given}; resume them one by one"
            )
        configs = {seed_folder(folder, seed): config.with_seed(seed) for seed in together}
    if config.seed not in together:
        raise ValueError(f"{first / CONFIG}: seeds: expected seed {config.seed} of the run among them, got {together}")
    for each, wanted in configs.items():
        if (each / CONFIG).exists() and read_config(each).qgpo != wanted:
            raise ValueError(f"{each / CONFIG}: expected the settings of {first.name}, with which it was started, got others")
    run = QGPORun(configs, transitions, written.save_every, together)
    if run.fingerprint != written.data.sha256:
        known = f"{written.data.name} (SHA-256 {written.data.sha256[:12]}...)"
        raise ValueError(f"{folder}: expected the data the run was started with, {known}, got others")
    _write_configs(run, configs, transitions)  # of seeds whose start was killed before theirs was written
    return run


def keep_weights(run: Path, target: Path) -> None:
    """Copy the files of a finished run that `load_run` reads."""
    checkpoints.make_folder(target)
    for name in (CONFIG, *(f"{stage}.safetensors" for stage in STAGES if stage != "support")):
        if (run / name).exists():
            checkpoints.write_atomically(target / name, (run / name).read_bytes())


def load_run(folder: str | Path, *, device: torch.device | str = "cpu") -> QGPO:
    """Read the networks of a finished run, with frozen weights.

    Raises:
        ValueError: no run there, a stage that is not finished, or files that do not read or belong to another architecture.
    """
    folder = Path(folder)
    written = read_config(folder)
    config, size = written.qgpo, torch.zeros(written.state_dim)
    wanted = {"behaviour": {"mean": size, "std": size}, "critic": {"q_std": torch.zeros(())}}
    networks: dict[str, nn.Module] = {}
    extras: dict[str, Tensor] = {}
    for name in ("behaviour", "critic", "cloning"):
        path = folder / f"{name}.safetensors"
        if not path.exists():
            if name == "cloning":
                continue
            raise ValueError(f"{folder}: expected a finished run, but its {name} stage is not; resume it")
        tensors, _ = load_tensors(path)
        make = partial(make_networks, name, (written.state_dim, written.action_dim), config, config.seed)
        check_memory(weight_bytes(make), f"{folder / CONFIG}: the {name} networks")
        made = make()
        found = {key: tensors.pop(key) for key in wanted.get(name, ()) if key in tensors}
        check_same_tensors(found, wanted.get(name, {}), path, finite=True)
        extras |= {key: value.to(device) for key, value in found.items()}
        fill(made, tensors, path)
        networks |= {part: network.to(device) for part, network in made.items()}
    main = (networks["behaviour"], networks["critic"], networks["energy"])
    return QGPO(*main, config, extras["mean"], extras["std"], extras["q_std"], networks.get("cloning"))
