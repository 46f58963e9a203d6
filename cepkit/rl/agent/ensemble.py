"""Several seeds of one task trained together: their weights stacked, their random streams kept apart.

Networks this small leave a GPU idle; a stack of them runs through the same batched matrix products. Each member draws what a
run of its seed alone would draw, so it ends with the same weights to within rounding. Results are kept as single runs, one
folder seed-<n> each, which `load_run` and `resume_run` read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from cepkit.learning.checkpoints import check_same_tensors, load_tensors, save_tensors
from cepkit.rl.agent.action_support import SupportSampling
from cepkit.rl.agent.agent_networks import BehaviourNet
from cepkit.rl.agent.baselines import CloningTraining
from cepkit.rl.agent.behaviour import BehaviourTraining, behaviour_network
from cepkit.rl.agent.critic import CriticTraining
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.agent.qgpo_run import QGPORun, followed, log_folder, result_of, resume_run, start_run
from cepkit.rl.agent.stage import Stage, StageStep
from cepkit.rl.data.transitions import Transitions
from cepkit.validation import check_number


def _shared(name: str) -> bool:
    return name.endswith(".step")  # Adam's counter, one for all members


class Ensemble:
    """Runs of several seeds in one folder, trained together; iterate to train through every stage.

    Args:
        folder: gets a run folder seed-<n> for each seed; runs that are there already are taken up, when their settings agree
            and they have taken equally many steps.
        config: of every run but for the seed.
        seeds: different whole numbers.
        transitions: the data, on the device to train on.
        save_every: steps of a stage between two saves.

    Raises:
        ValueError: seeds that are none or repeat; a folder with runs of another configuration, other data or at other steps.
    """

    def __init__(
        self,
        folder: str | Path,
        config: QGPOConfig,
        transitions: Transitions,
        seeds: Sequence[int],
        *,
        save_every: int = 1000,
    ) -> None:
        self.folder, self.config = Path(folder), config
        self.seeds = tuple(check_number(seed, name="seeds", low=0, integer=True) for seed in seeds)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: expected at least one whole number, each once, got {tuple(seeds)!r}")
        self.runs: list[QGPORun] = []
        for seed in self.seeds:
            own, at = config.with_seed(seed), self.folder / f"seed-{seed}"
            exists = (at / "config.json").exists()
            run = resume_run(at, transitions, own) if exists else start_run(at, own, transitions, save_every=save_every)
            self.runs.append(run)
        self.data = self.runs[0].data
        self.stage: Stage | None = None

    def __iter__(self) -> Iterator[StageStep]:
        """Train to the end of the last stage, yielding each step; losses are means over the members.

        Raises:
            NonFiniteLoss: a loss or weight of any member is NaN or infinite; the last save stays.
            OSError: the folder cannot be written or the disk is full; the last save stays.
        """
        for name in self.runs[0].stages:
            done = [run.has_result(name) for run in self.runs]
            if not all(done):
                self.stage = self._make(name)
                self._load()
                yield from followed(self.stage, log_folder(self.folder, name), self.runs[0].save_every, self.save)
                self.save()
                result = result_of(self.stage)
                for member, run in enumerate(self.runs):
                    run.write_result(name, {key: value[member] for key, value in result.items()})
            for run in self.runs:  # only now, so that a kill on the way leaves every member's state or every result
                run.remove_state(name)
            self.stage = None

    def _make(self, name: str) -> Stage:
        if name == "behaviour":
            return BehaviourTraining(self.data, self.config, self.seeds)
        if name == "support":
            return SupportSampling(self.data, self._stacked_behaviour(), self.config, self.seeds)
        if name == "critic":
            return CriticTraining(self.data, torch.stack([run.support for run in self.runs]), self.config, self.seeds)
        return CloningTraining(self.data, self.config, self.seeds)

    def _stacked_behaviour(self) -> BehaviourNet:
        sizes = (self.data.states.shape[1], self.data.actions.shape[1])
        stack = behaviour_network(*sizes, self.config, self.seeds).to(self.data.device)
        members = [run.networks["behaviour"].state_dict() for run in self.runs]
        stack.load_state_dict({name: torch.stack([member[name] for member in members]) for name in members[0]})
        return stack.eval().requires_grad_(False)

    def save(self) -> None:
        """Write the state of the stage in progress, for each member as a run of its own."""
        if self.stage is None:
            return
        tensors = self.stage.tensors()
        for member, run in enumerate(self.runs):
            mine = {name: value if _shared(name) else value[member] for name, value in tensors.items()}
            save_tensors(run.state_path(self.stage.name), mine, {"step": str(self.stage.index)})

    def _load(self) -> None:
        name = self.stage.name
        found = [load_tensors(path) for run in self.runs if (path := run.state_path(name)).exists()]
        if not found:
            return
        steps = {metadata.get("step") for _, metadata in found}
        if len(found) != len(self.runs) or len(steps) != 1:
            raise ValueError(
                f"{self.folder}: expected runs that have taken equally many steps of the {name} stage, got {len(found)} of "
                f"{len(self.runs)} begun, at steps {', '.join(sorted(map(str, steps)))}; resume them one by one"
            )
        members = [tensors for tensors, _ in found]
        joined = {
            key: value if _shared(key) else torch.stack([member[key] for member in members]) for key, value in members[0].items()
        }
        check_same_tensors(joined, self.stage.tensors(), self.folder)
        self.stage.load_tensors(joined, int(steps.pop()))

    @property
    def qgpos(self) -> list[QGPO]:
        """The results of the seeds, in their order."""
        return [run.qgpo for run in self.runs]
