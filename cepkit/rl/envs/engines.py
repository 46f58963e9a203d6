"""Which machine a policy is measured on: `make_env("hopper-medium-v2")` is D4RL's own physics on a modern MuJoCo.

D4RL's v2 tasks ran on MuJoCo 2.1.0, which gave the end caps of capsules 3/4 of a sphere's mass. Later versions corrected that,
so every body's mass and inertia changed, and Gymnasium's `-v4` environments, the same code otherwise, are another machine.
Engines:

- `d4rl-v2`: Gymnasium v4 with the old `body_mass`, `body_inertia`, `body_ipos` and `body_iquat` written into the model and every
  constant that follows from them recomputed (`mj_setConst`). One step agrees with the real engine to 1e-12
  (`cepkit.rl.envs.engine_check`). The default for D4RL's locomotion names.
- `gymnasium-v4`, `gymnasium-v5`: as installed; scores differ from D4RL's.
- `gymnasium-robotics`: the mazes. For the AntMaze and maze2d names of D4RL these are other environments, used under their own
names.

Ant has 111 observations on every engine, as D4RL's data: the last 84, contact forces that were never computed, are zero.
Actions are clipped to their bounds on `d4rl-v2`, as D4RL does.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import io
import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cepkit.rl.envs import maze
from cepkit.validation import check_name, import_extra

if TYPE_CHECKING:
    import gymnasium

ENGINES = ("d4rl-v2", "gymnasium-v4", "gymnasium-v5", "gymnasium-robotics")
LOCOMOTION_STEPS = 1000
D4RL_FOLDER = Path(__file__).parent / "d4rl_v2"
INERTIAL_CONSTANTS = ("body_mass", "body_inertia", "body_ipos", "body_iquat")
TESTED_MUJOCO = "3.3."
_BODIES = {"hopper": "Hopper", "halfcheetah": "HalfCheetah", "walker2d": "Walker2d", "ant": "Ant"}
_QUALITIES = ("random", "medium", "expert", "medium-replay", "full-replay", "medium-expert")
_ANT_ZEROS = 84
_SHIPPED = {"halfcheetah-small-replay": "halfcheetah"}
_ANT_MAZES = {
    "umaze": "UMaze", "umaze-diverse": "UMaze", "medium-play": "Medium", "medium-diverse": "Medium_Diverse_GR",
    "large-play": "Large", "large-diverse": "Large_Diverse_GR",
}  # fmt: skip
_POINT_MAZES = {"open": "Open", "umaze": "UMaze", "medium": "Medium", "large": "Large"}


@dataclass(frozen=True)
class Environment:
    """What a name and an engine come to.

    Attributes:
        name: as asked for.
        engine: one of `ENGINES`.
        gymnasium_id: what is made, by Gymnasium's name.
        body: "hopper", "halfcheetah", "walker2d" or "ant" for locomotion, else None.
    """

    name: str
    engine: str
    gymnasium_id: str
    body: str | None = None

    @property
    def is_d4rls(self) -> bool:
        """Whether D4RL's scores have a meaning here: not in a maze of gymnasium-robotics."""
        return self.engine != "gymnasium-robotics"

    def warn(self, *, stacklevel: int = 2) -> None:
        """Say (`UserWarning`) in what this differs from the task that the name stands for; silent where it does not."""
        for message in self._differences():
            warnings.warn(message, UserWarning, stacklevel=stacklevel + 1)

    def _differences(self) -> Iterator[str]:
        if self.engine in ("gymnasium-v4", "gymnasium-v5"):
            yield (
                f"{self.name} on {self.engine}: masses and inertias are not those of D4RL's engine, so scores differ from "
                "D4RL's; engine='d4rl-v2' is D4RL's own"
            )
        elif self.engine == "d4rl-v2":
            version = import_extra("mujoco").__version__
            if not version.startswith(TESTED_MUJOCO):
                yield (
                    f"mujoco {version}: D4RL's engine is reproduced with mujoco 3.3; with 3.8 and later hopper and ant were "
                    "measured to differ by up to 3 in one step (halfcheetah and walker2d agreed)"
                )
        elif self.name != maze.NAME and self.name != self.gymnasium_id:
            yield (
                f"{self.name}: D4RL's maze is not available; this is {self.gymnasium_id} of gymnasium-robotics, another "
                "environment: other starts, goals, coordinates and physics, so results do not compare with D4RL's"
            )

    def build(self, *, render_mode: str | None = None) -> gymnasium.Env:
        """Make the environment, with a flat observation of floats, and without any warning of its own."""
        if self.engine != "gymnasium-robotics":
            return self._locomotion(render_mode)
        gymnasium = import_extra("gymnasium")
        _import_robotics()
        from cepkit.rl.envs.wrappers import FlatMaze

        if self.name == maze.NAME:
            entry_point = "cepkit.rl.envs.maze_env:CourseMaze"
            spec = gymnasium.envs.registration.EnvSpec(self.gymnasium_id, entry_point, max_episode_steps=maze.STEPS)
            return FlatMaze(gymnasium.make(spec, render_mode=render_mode, disable_env_checker=True))
        ends_at_goal = self.gymnasium_id.startswith("AntMaze")  # as D4RL's do; its maze2d tasks go on
        return FlatMaze(_make(self.gymnasium_id, render_mode, continuing_task=not ends_at_goal, reset_target=False))

    def _locomotion(self, render_mode: str | None) -> gymnasium.Env:
        import_extra("mujoco")
        import_extra("gymnasium")
        from cepkit.rl.envs.wrappers import ClippedActions, ZeroPadded

        without_forces = {"include_cfrc_ext_in_observation": False} if self.gymnasium_id == "Ant-v5" else {}
        env = _make(self.gymnasium_id, render_mode, max_episode_steps=LOCOMOTION_STEPS, **without_forces)
        if self.engine == "d4rl-v2":
            _write_inertia(env, self.body)
            env = ClippedActions(env)
        return ZeroPadded(env, _ANT_ZEROS) if self.body == "ant" else env


def make_env(name: str, *, engine: str | None = None, render_mode: str | None = None) -> gymnasium.Env:
    """The environment that a policy trained on the data set `name` acts in.

    Args:
        name: a D4RL name (locomotion, AntMaze, maze2d), a shipped set ("pointmaze-umaze"), or a maze of gymnasium-robotics by
            its own name ("AntMaze_UMaze-v4").
        engine: one of `ENGINES`; by default "d4rl-v2" for locomotion and "gymnasium-robotics" for mazes. Where the environment
            is not the task that the name stands for, a `UserWarning` says so.
        render_mode: Gymnasium's, e.g. "rgb_array".

    Returns:
        A Gymnasium environment with a flat Box observation of float64 and its time limit: 1000 steps for locomotion, 300 for the
        course's maze. `reset(seed=...)` decides everything that is random.

    Raises:
        ValueError: an unknown name or engine (the nearest is suggested), an engine that does not have this task, or a package
            that is not installed.
    """
    environment = find_environment(name, engine)
    environment.warn(stacklevel=2)
    return environment.build(render_mode=render_mode)


def find_environment(name: str, engine: str | None = None) -> Environment:
    """What `make_env(name, engine=engine)` makes, without making it or importing a simulator.

    Raises:
        ValueError: as `make_env`, but for missing packages.
    """
    body, maze_id = _locomotion_names().get(name), _maze_names().get(name)
    if body is None and maze_id is None:
        near = difflib.get_close_matches(str(name), [*_locomotion_names(), *_maze_names()], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            "name: expected a D4RL task such as hopper-medium-v2, antmaze-umaze-v2 or maze2d-umaze-v1, a shipped set such as "
            f"{maze.NAME}, or a maze of gymnasium-robotics such as AntMaze_UMaze-v4, got {name!r}{hint}"
        )
    offered = ENGINES[:3] if body else ENGINES[3:]
    engine = offered[0] if engine is None else check_name(engine, ENGINES, name="engine")
    if engine not in offered:
        raise ValueError(f"engine: expected {' or '.join(offered)} for {name}, got {engine!r}")
    if body is None:
        return Environment(name, engine, maze_id)
    return Environment(name, engine, f"{_BODIES[body]}-{'v5' if engine == 'gymnasium-v5' else 'v4'}", body)


@functools.cache
def inertia(body: str) -> dict[str, list]:
    """The inertial constants MuJoCo 2.1.0 compiled for "hopper", "halfcheetah", "walker2d" or "ant": one row for each body."""
    models = json.loads((D4RL_FOLDER / "inertia.json").read_text(encoding="utf-8"))["models"]
    return models[check_name(body, models, name="body")]


@functools.cache
def _locomotion_names() -> dict[str, str]:
    d4rl = {f"{body}-{quality}-v{version}": body for body in _BODIES for quality in _QUALITIES for version in range(3)}
    return {**d4rl, **_SHIPPED}


@functools.cache
def _maze_names() -> dict[str, str]:
    names = {maze.NAME: "cepkit/PointMaze_UMaze-v0"}
    for task, own in _ANT_MAZES.items():
        names[f"AntMaze_{own}-v4"] = f"AntMaze_{own}-v4"
        names.update({f"antmaze-{task}-v{version}": f"AntMaze_{own}-v4" for version in range(3)})
    for task, own in _POINT_MAZES.items():
        for suffix, end in (("", ""), ("-dense", "Dense")):
            names[f"PointMaze_{own}{end}-v3"] = f"PointMaze_{own}{end}-v3"
            names.update({f"maze2d-{task}{suffix}-v{version}": f"PointMaze_{own}{end}-v3" for version in range(2)})
    return names


def _make(gymnasium_id: str, render_mode: str | None, **settings: object) -> gymnasium.Env:
    """`gymnasium.make`, but for the one warning that v4 is not the latest version: here it is meant."""
    with _no_warning_of_age(gymnasium_id):
        return import_extra("gymnasium").make(gymnasium_id, render_mode=render_mode, disable_env_checker=True, **settings)


def _import_robotics() -> None:
    """Import gymnasium-robotics, which registers its mazes, without the note on Adroit hands that it prints each time."""
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        import_extra("gymnasium_robotics")
    sys.stderr.write("".join(line for line in printed.getvalue().splitlines(True) if "Adroit" not in line))


@contextlib.contextmanager
def _no_warning_of_age(gymnasium_id: str) -> Iterator[None]:
    with warnings.catch_warnings():
        age = f".*The environment {gymnasium_id} is out of date"
        warnings.filterwarnings("ignore", message=age, category=DeprecationWarning)
        yield


def _write_inertia(env: gymnasium.Env, body: str) -> None:
    """Give the model MuJoCo 2.1.0's inertial constants, and recompute what follows from them."""
    mujoco, simulation, constants = import_extra("mujoco"), env.unwrapped, inertia(body)
    model = simulation.model
    names = [mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_BODY, index) for index in range(model.nbody)]
    if [name for name in names if name] != constants["body_names"] or model.nbody != len(constants["body_mass"]):
        raise ValueError(f"{env.spec.id}: expected the bodies {constants['body_names']} of D4RL's {body}, got {names}")
    for constant in INERTIAL_CONSTANTS:
        getattr(model, constant)[:] = constants[constant]
    mujoco.mj_setConst(model, simulation.data)
