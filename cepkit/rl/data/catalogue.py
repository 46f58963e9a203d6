"""Which data sets have a name: D4RL's (Fu et al. 2020, arXiv 2004.07219) and the two that ship with this project.

D4RL's file names, time limits and reference returns are those of its package, version 1.1 (`d4rl/infos.py` and the
environments it registers). A reference is the mean return of a random policy and of an expert. AntMaze v1 is registered
there with the references of v0 and v2. Sizes are as told by other work, where we know them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """What is known of a named data set without its file.

    Attributes:
        name: as users write it.
        family: decides rewards, presets and environments, see `cepkit.rl.data.scores.family_of`.
        reference: lowest and highest reference return, or None where there is none.
        episode_steps: the environment's time limit, which ends an episode in files that record no time-outs.
        file: where the official host keeps it, below its root; empty for a set that ships with the project.
        transitions: rows of the file, or None where we do not know.
    """

    name: str
    family: str
    reference: tuple[float, float] | None
    episode_steps: int
    file: str = ""
    transitions: int | None = None

    @property
    def shipped(self) -> bool:
        """Whether it comes with the project, not from D4RL."""
        return not self.file


_ROBOTS = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
}
_SIZES = {
    "halfcheetah-medium-v2": 1_000_000, "hopper-medium-v2": 999_906, "walker2d-medium-v2": 999_995,
    "halfcheetah-medium-replay-v2": 202_000, "hopper-medium-replay-v2": 402_000, "walker2d-medium-replay-v2": 302_000,
    "halfcheetah-medium-expert-v2": 2_000_000, "hopper-medium-expert-v2": 1_999_906, "walker2d-medium-expert-v2": 1_999_995,
}  # fmt: skip
_MAZES = {  # name: (its name in files of v0 and v2, of v1, many starts, many goals, time limit)
    "umaze": ("u-maze", "umaze", False, False, 700),
    "umaze-diverse": ("u-maze", "umaze", True, True, 700),
    "medium-play": ("big-maze", "medium", True, False, 1000),
    "medium-diverse": ("big-maze", "medium", True, True, 1000),
    "large-play": ("hardest-maze", "large", True, False, 1000),
    "large-diverse": ("hardest-maze", "large", True, True, 1000),
}
_BALLS = {  # name: (version, time limit, reference of sparse rewards, of dense ones)
    "open": ("v0", 150, (0.01, 20.66), (11.17817, 27.166538620695782)),
    "umaze": ("v1", 300, (23.85, 161.86), (68.537689, 193.66285642381482)),
    "medium": ("v1", 600, (13.13, 277.39), (44.264742, 297.4552547777125)),
    "large": ("v1", 800, (6.7, 273.99), (30.569041, 303.4857382709002)),
}
_KITCHENS = {
    "complete": "mini_kitchen_microwave_kettle_light_slider-v0",
    "partial": "kitchen_microwave_kettle_light_slider-v0",
    "mixed": "kitchen_microwave_kettle_bottomburner_light-v0",
}
_HANDS = {
    "pen": (100, (96.262799, 3076.8331017826877)),
    "hammer": (200, (-274.856578, 12794.134825156867)),
    "door": (200, (-56.512833, 2880.5693087298737)),
    "relocate": (200, (-6.425911, 4233.877797728884)),
}
_HAND_FILES = {"human": "{hand}-v0_demos_clipped", "cloned": "{hand}-demos-v0-bc-combined", "expert": "{hand}-v0_expert_clipped"}


def _locomotion() -> Iterator[Entry]:
    for robot, reference in _ROBOTS.items():
        for kind in ("random", "medium", "expert", "medium-replay", "medium-expert", "full-replay"):
            words = kind.replace("-", "_")
            files = {version: f"gym_mujoco_{version}/{robot}_{words}-{version}.hdf5" for version in ("v1", "v2")}
            if kind != "full-replay":
                old = "walker" if (robot, kind) == ("walker2d", "medium-replay") else robot
                files["v0"] = f"gym_mujoco/{old}_{words.replace('medium_replay', 'mixed')}.hdf5"
            for version in sorted(files):
                name = f"{robot}-{kind}-{version}"
                yield Entry(name, "locomotion", reference, 1000, files[version], _SIZES.get(name))


def _antmaze() -> Iterator[Entry]:
    for maze, (old, new, starts, goals, limit) in _MAZES.items():
        shape = f"noisy_multistart_{starts}_multigoal_{goals}_sparse"
        files = {
            "v0": f"ant_maze_new/Ant_maze_{old}_{shape}.hdf5",
            "v1": f"ant_maze_v1/Ant_maze_{new}_{shape}.hdf5",
            "v2": f"ant_maze_v2/Ant_maze_{old}_{shape}_fixed.hdf5",
        }
        for version, file in files.items():
            yield Entry(f"antmaze-{maze}-{version}", "antmaze", (0.0, 1.0), limit, file)


def _maze2d() -> Iterator[Entry]:
    for maze, (version, limit, sparse, dense) in _BALLS.items():
        end = "" if version == "v0" else f"-{version}"
        yield Entry(f"maze2d-{maze}-{version}", "maze2d", sparse, limit, f"maze2d/maze2d-{maze}-sparse{end}.hdf5")
        yield Entry(f"maze2d-{maze}-dense-{version}", "maze2d", dense, limit, f"maze2d/maze2d-{maze}-dense{end}.hdf5")


def _manipulation() -> Iterator[Entry]:
    for kind, file in _KITCHENS.items():
        yield Entry(f"kitchen-{kind}-v0", "kitchen", (0.0, 4.0), 280, f"kitchen/{file}.hdf5")
    for hand, (limit, reference) in _HANDS.items():
        for kind, file in _HAND_FILES.items():
            yield Entry(f"{hand}-{kind}-v0", "adroit", reference, limit, f"hand_dapg/{file.format(hand=hand)}.hdf5")
            yield Entry(f"{hand}-{kind}-v1", "adroit", reference, limit, f"hand_dapg_v1/{hand}-{kind}-v1.hdf5")


def _shipped() -> Iterator[Entry]:
    yield Entry("pointmaze-umaze", "maze", None, 300)
    yield Entry("halfcheetah-small-replay", "locomotion", _ROBOTS["halfcheetah"], 1000)


CATALOGUE = {entry.name: entry for part in (_shipped, _locomotion, _antmaze, _maze2d, _manipulation) for entry in part()}

MAKERS = {  # "module:function"; the function takes the path to write
    "pointmaze-umaze": "cepkit.rl.envs.maze_data:make",
    "halfcheetah-small-replay": "cepkit.rl.envs.cheetah_data:make",
}


def unknown_name(name: object, known: Iterable[str] = CATALOGUE, *, what: str = "dataset") -> ValueError:
    """The error for a name that is none of `known`, with the nearest ones; to be raised by the caller."""
    near = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    return ValueError(f"{what}: expected a known name, got {str(name)!r}{hint} (`cepkit data list` shows them all)")
