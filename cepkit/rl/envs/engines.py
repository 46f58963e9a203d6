"""The simulator that a policy is measured on: `make_env("hopper-medium-v2")` is D4RL's own physics on a modern MuJoCo.

D4RL's v2 tasks ran on MuJoCo 2.1.0, which gave the end caps of capsules 3/4 of a sphere's mass. Later versions corrected that,
so the mass and inertia of every body changed. Gymnasium's `-v4` environments are the same code otherwise, with other physics.

- `d4rl-v2`: Gymnasium v4 with the old `body_mass`, `body_inertia`, `body_ipos` and `body_iquat` written into the model and every
  constant that follows from them recomputed (`mj_setConst`). One step agrees with the real engine to 1e-12
  (`cepkit.rl.envs.engine_check`). The default for D4RL's locomotion names.
- `gymnasium-v4`, `gymnasium-v5`: as installed; scores differ from D4RL's.
- `gymnasium-robotics`: the mazes. D4RL's AntMaze and maze2d names get the nearest of them, which is another environment.

Ant has 111 observations on every engine, as in D4RL's data. The last 84, contact forces that were never computed, are zero.
Actions are clipped to their bounds on `d4rl-v2`, as D4RL does.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cepkit.rl.data.catalogue import CATALOGUE
from cepkit.rl.envs import maze
from cepkit.validation import check_name, import_extra

if TYPE_CHECKING:
    import gymnasium

ENGINES = ("d4rl-v2", "gymnasium-v4", "gymnasium-v5", "gymnasium-robotics")
D4RL_FOLDER = Path(__file__).parent / "d4rl_v2"
INERTIAL_CONSTANTS = ("body_mass", "body_inertia", "body_ipos", "body_iquat")
_IDS = {name: entry.environment for name, entry in CATALOGUE.items() if entry.environment}  # and the mazes by their own names:
_IDS |= {own: own for own in _IDS.values() if own.startswith(("AntMaze_", "PointMaze_"))}


@dataclass(frozen=True)
class Environment:
    """A task resolved to a physics engine and an environment id."""

    name: str  # as asked for
    engine: str  # one of `ENGINES`
    gymnasium_id: str  # Gymnasium's name of the environment
    body: str | None = None  # "hopper", "halfcheetah", "walker2d" or "ant" for locomotion, None for mazes

    @property
    def difference(self) -> str:
        """How it differs from the task that the name stands for, in a sentence; empty where it does not."""
        if self.engine in ("gymnasium-v4", "gymnasium-v5"):
            other = "masses and inertias are not those of D4RL's engine, so scores differ from D4RL's"
            return f"{self.name} on {self.engine}: {other}; engine='d4rl-v2' is D4RL's own"
        if self.body and not (version := import_extra("mujoco").__version__).startswith("3.3."):
            measured = "with 3.8 and later hopper and ant differed by up to 3 in one step (halfcheetah and walker2d agreed)"
            return f"mujoco {version}: D4RL's engine is reproduced with mujoco 3.3; {measured}"
        if self.body or self.name in (maze.NAME, self.gymnasium_id):
            return ""
        other = f"this is {self.gymnasium_id} of gymnasium-robotics, with other starts, goals, coordinates and physics"
        return f"{self.name}: D4RL's maze is not available; {other}, so results do not compare with D4RL's"

    def warn(self) -> None:
        """Warn the caller's caller (`UserWarning`) of a `difference`."""
        if self.difference:
            warnings.warn(self.difference, UserWarning, stacklevel=3)

    def build(self, *, render_mode: str | None = None) -> gymnasium.Env:
        """Make the environment, with a flat observation of floats, and without any warning of its own."""
        gymnasium = import_extra("gymnasium")
        if self.engine != "gymnasium-robotics":
            import_extra("mujoco")
            without_forces = {"include_cfrc_ext_in_observation": False} if self.gymnasium_id == "Ant-v5" else {}
            env = _make(self.gymnasium_id, render_mode, max_episode_steps=CATALOGUE[self.name].episode_steps, **without_forces)
            if self.engine == "d4rl-v2":
                _write_inertia(env, self.body)
                space = env.action_space  # clipped as by D4RL's `NormalizedBoxEnv`: the cost is that of the force applied
                clip = functools.partial(np.clip, a_min=space.low, a_max=space.high)
                env = gymnasium.wrappers.TransformAction(env, clip, space)
            return _zero_padded(env, 84) if self.body == "ant" else env
        _import_robotics()
        if self.name == maze.NAME:
            entry_point = "cepkit.rl.envs.maze_env:CourseMaze"
            spec = gymnasium.envs.registration.EnvSpec(self.gymnasium_id, entry_point, max_episode_steps=maze.STEPS)
            return _flat(gymnasium.make(spec, render_mode=render_mode, disable_env_checker=True))
        ends_at_goal = self.gymnasium_id.startswith("AntMaze")  # as D4RL's do; its maze2d tasks go on
        return _flat(_make(self.gymnasium_id, render_mode, continuing_task=not ends_at_goal, reset_target=False))

    @contextlib.contextmanager
    def opened(self, count: int = 1) -> Iterator[list[gymnasium.Env]]:
        """Make `count` environments, and close them whatever happens."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(contextlib.closing(self.build())) for _ in range(count)]


def make_env(name: str, *, engine: str | None = None, render_mode: str | None = None) -> gymnasium.Env:
    """The environment that a policy trained on the dataset `name` acts in.

    Args:
        name: a D4RL name (locomotion, AntMaze, maze2d), a shipped dataset ("pointmaze-umaze"), or a maze of gymnasium-robotics by
            its own name ("AntMaze_UMaze-v4").
        engine: one of `ENGINES`; by default "d4rl-v2" for locomotion and "gymnasium-robotics" for mazes. Where the environment
            is not the task that the name stands for, a `UserWarning` says so.
        render_mode: Gymnasium's, e.g. "rgb_array".

    Returns:
        A Gymnasium environment with a flat Box observation of float64 and its time limit: 1000 steps for locomotion, 300 for the
        course's maze. `reset(seed=...)` decides everything that is random.

    Raises:
        ValueError: an unknown name or engine (the nearest is suggested), an engine that does not have this task, a package that
            is not installed, or a render mode on a machine that cannot render.
    """
    environment = find_environment(name, engine)
    without = "without a display, set the environment variable MUJOCO_GL=egl (or osmesa) before Python starts"
    if render_mode and sys.platform == "linux" and not {"MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        raise ValueError(f"render_mode: expected a display for {render_mode!r}, found none; {without}")
    environment.warn()
    env = environment.build(render_mode=render_mode)
    if render_mode:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the window library; the error says it once
                env.reset()
                env.render()
        except Exception as error:  # whatever MuJoCo and the graphics libraries below it raise; some have no text
            got = f"{type(error).__name__}, MUJOCO_GL={os.environ.get('MUJOCO_GL', '')!r}"
            raise ValueError(f"render_mode: expected a machine that can render {render_mode!r}, got {got}; {without}") from error
    return env


def find_environment(name: str, engine: str | None = None) -> Environment:
    """The task of `make_env(name, engine=engine)`, without making it or importing a simulator; it refuses the same names."""
    if name not in _IDS:
        near = difflib.get_close_matches(str(name), _IDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            "name: expected a D4RL task such as hopper-medium-v2, antmaze-umaze-v2 or maze2d-umaze-v1, a shipped dataset such as "
            f"{maze.NAME}, or a maze of gymnasium-robotics such as AntMaze_UMaze-v4, got {name!r}{hint}"
        )
    is_locomotion = name in CATALOGUE and CATALOGUE[name].family == "locomotion"
    offered = ENGINES[:3] if is_locomotion else ENGINES[3:]
    engine = offered[0] if engine is None else check_name(engine, ENGINES, name="engine")
    if engine not in offered:
        raise ValueError(f"engine: expected {' or '.join(offered)} for {name}, got {engine!r}")
    gymnasium_id = _IDS[name].replace("-v4", "-v5") if engine == "gymnasium-v5" else _IDS[name]
    return Environment(name, engine, gymnasium_id, gymnasium_id.partition("-")[0].lower() if is_locomotion else None)


@functools.cache
def inertia(body: str) -> dict[str, list]:
    """The inertial constants MuJoCo 2.1.0 compiled for "hopper", "halfcheetah", "walker2d" or "ant": one row for each body."""
    models = json.loads((D4RL_FOLDER / "inertia.json").read_text(encoding="utf-8"))["models"]
    return models[check_name(body, models, name="body")]


def _make(gymnasium_id: str, render_mode: str | None, **settings: object) -> gymnasium.Env:
    """`gymnasium.make` without the warning that v4 is not the latest version: here it is meant."""
    with warnings.catch_warnings():
        age = f".*The environment {gymnasium_id} is out of date"
        warnings.filterwarnings("ignore", message=age, category=DeprecationWarning)
        return import_extra("gymnasium").make(gymnasium_id, render_mode=render_mode, disable_env_checker=True, **settings)


def _import_robotics() -> None:
    """Import gymnasium-robotics, which registers its mazes, without the note on Adroit hands that it prints each time."""
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        import_extra("gymnasium_robotics")
    sys.stderr.write("".join(line for line in printed.getvalue().splitlines(True) if "Adroit" not in line))


def _zero_padded(env: gymnasium.Env, count: int) -> gymnasium.Env:
    """Append zeros to observations: Ant's contact forces, which MuJoCo 2 left at zero and D4RL recorded so."""
    gymnasium, space, zeros = import_extra("gymnasium"), env.observation_space, np.zeros(count)
    padded = gymnasium.spaces.Box(*(np.concatenate([bound, zeros]) for bound in (space.low, space.high)), dtype=space.dtype)
    return gymnasium.wrappers.TransformObservation(env, lambda seen: np.concatenate([seen, zeros]), padded)


def _flat(env: gymnasium.Env) -> gymnasium.Env:
    """Turn a maze's dictionary into D4RL's one vector: position first, then the rest; the goal is not part of it.

    The model file that gymnasium-robotics leaves behind for each maze is removed: MuJoCo has read it by now.
    """
    Path(env.unwrapped.tmp_xml_file_path).unlink(missing_ok=True)
    parts, gymnasium = env.observation_space.spaces, import_extra("gymnasium")
    keys = ["observation"] if hasattr(env.unwrapped, "point_env") else ["achieved_goal", "observation"]  # AntMaze: apart
    size = sum(parts[key].shape[0] for key in keys)
    space = gymnasium.spaces.Box(-np.inf, np.inf, shape=(size,), dtype=np.float64)
    return gymnasium.wrappers.TransformObservation(env, lambda seen: np.concatenate([seen[key] for key in keys]), space)


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
