"""The maze lab: choose a state of the maze, and see what guides its actions and where the guided policy drives."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import traitlets
from torch import Tensor

from cepkit.calling import words_of
from cepkit.canvas.to_browser import colour_tables, joined, pack_binary, pack_picture
from cepkit.canvas.worker import Worker
from cepkit.canvas.working_widget import WorkingWidget
from cepkit.rl.agent.baselines import best_of_k_policy, clone_policy, guided_policy
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.envs import maze
from cepkit.rl.envs.engines import find_environment
from cepkit.rl.envs.rollouts import act
from cepkit.rl.study.action_slices import ARROWS, REACH, SIDE, ActionSlice, action_slice, energy_slice
from cepkit.rl.study.figures import POLICY_COLOURS
from cepkit.validation import check_number

_JS = Path(__file__).parent / "js"
_RANGES = {"vx": (-5.0, 5.0), "vy": (-5.0, 5.0), "t": (0.02, 1.0), "scale": (0.0, 20.0), "seed": (0, 2**31)}
_GUIDED_DRAWS = 100
_SHOWN_EVERY = 0.4  # seconds between two pictures of a path that grows


class MazeLab(WorkingWidget):
    """The maze on the left, and on the right four panels over the actions of the chosen state.

    Every control (in `js/maze.js`) is a trait, so `lab.place = [1.0, 1.0]` does what a click does. In a notebook the work happens
    between two events, and stale work is dropped; `lab.settle()` finishes it now.

    Args:
        qgpo: a finished run on the course's maze, see `cepkit.rl.load_run`.
        place: (x, y) to begin with, in metres.
        scale: guidance scale.

    Attributes:
        place, vx, vy: the state, in metres and metres per second.
        t: noise level of the energies, in [0.02, 1].
        seed: of the draws of actions.
        rollout: whether paths are driven from this state by the guided policy at this scale, by cloning and by the best of K;
            turned off by whatever makes them stale.
        actions, energies, guided, paths, status: the content shown.

    Raises:
        ValueError: a run on other states or actions than the maze's, a place in a wall, or a number out of range.
    """

    _esm = joined(_JS, "data.js", "draw.js", "controls.js", "maze.js")
    _css = joined(_JS, "common.css", "maze.css")

    place = traitlets.List(traitlets.Float()).tag(sync=True)
    vx = traitlets.Float(0.0).tag(sync=True)
    vy = traitlets.Float(0.0).tag(sync=True)
    t = traitlets.Float(0.3).tag(sync=True)
    scale = traitlets.Float().tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    rollout = traitlets.Bool(False).tag(sync=True)

    setup = traitlets.Dict().tag(sync=True)
    actions = traitlets.Dict().tag(sync=True)
    energies = traitlets.Dict().tag(sync=True)
    guided = traitlets.Bytes(b"").tag(sync=True)
    paths = traitlets.Dict().tag(sync=True)
    status = traitlets.Unicode("").tag(sync=True)

    def __init__(self, qgpo: QGPO, *, place: tuple[float, float] = (-1.0, 1.0), scale: float = 3.0) -> None:
        sizes = (len(qgpo.mean), qgpo.action_dim)
        if sizes != (4, 2):
            raise ValueError(f"qgpo: expected a run on the maze, 4 state and 2 action dimensions, got {sizes[0]} and {sizes[1]}")
        self.qgpo = qgpo
        self._slice: ActionSlice | None = None
        self._done: dict[str, tuple] = {}  # the settings that each part was last made for
        self._worker = Worker(self._work, self._show_error)
        setup = {
            "walls": [list(wall) for wall in maze.walls()],
            "goal": [*maze.GOAL, maze.GOAL_RADIUS],
            "extent": maze.extent()[1],
            "reach": REACH,
            "luts": colour_tables(),
            "colours": POLICY_COLOURS,
            "k": qgpo.config.support_actions,
            "beta": qgpo.config.beta,
        }
        super().__init__(setup=setup, place=[float(value) for value in place], scale=scale)
        self._listen(self._on_message)
        self._follow(self._changed, "place", "vx", "vy", "seed", "t", "scale")
        self._follow(self._toggled, "rollout")
        self._worker.start(until=lambda: bool(self.energies))

    @property
    def state(self) -> Tensor:
        """(x, y, v_x, v_y), float32."""
        return torch.tensor([*self.place, self.vx, self.vy])

    # -- controls ------------------------------------------------------------------------------------------------------

    @traitlets.validate("place")
    def _check_place(self, proposal: dict) -> list[float]:
        if len(proposal["value"]) != 2:
            raise ValueError(f"place: expected two numbers (x, y), got {len(proposal['value'])}")
        return maze.check_state([*proposal["value"], 0.0, 0.0], name="place")[:2].tolist()

    @traitlets.validate(*_RANGES)
    def _check_range(self, proposal: dict) -> float:
        name = proposal["trait"].name
        low, high = _RANGES[name]
        return check_number(proposal["value"], name=name, low=low, high=high, integer=name == "seed")

    def _on_message(self, content: object) -> None:
        """Move the ball after a click or an arrow key, where it fits."""
        if not isinstance(content, dict) or content.get("type") != "place":
            return
        try:
            self.place = content["place"]
        except (ValueError, KeyError, traitlets.TraitError) as error:
            self.status = str(error)

    def _changed(self, change: dict) -> None:
        self.status = ""
        if change["name"] != "t":
            self.rollout = False  # whatever is driving has become stale
        self._worker.start()

    def _toggled(self, _change: dict) -> None:
        if not self.rollout:
            self.paths = {}
            self._worker.idle = True
        self._worker.start()

    def _show_error(self, error: Exception) -> None:
        self.status = f"Cannot draw this: {words_of(error)}"

    # -- work, in pieces -----------------------------------------------------------------------------------------------

    def _work(self) -> Iterator[None]:
        state = (*self.place, self.vx, self.vy, self.seed)
        if self._is_stale("actions", state):
            self._slice = action_slice(self.qgpo, self.state, generator=self._generator())
            self.actions = {
                "state": list(state[:4]),
                "side": SIDE,
                "density": pack_picture(self._slice.density[None], (0.0, 1.0)),
                "minus_q": pack_picture(-self._slice.q[None]),  # an energy, and drawn in the energies' colours
                "support": pack_binary(self._slice.support, "<f4"),
                "support_q": self._slice.support_q.tolist(),
            }
            yield
        if self._is_stale("energies", (*state, self.t)):
            found = energy_slice(self.qgpo, self.state, self._slice.support, self.t, generator=self._generator())
            self.energies = {
                "t": found.t,
                "side": SIDE,
                "arrows": ARROWS,
                "spread": 2 * float(found.points[0, -1, 0]) / (ARROWS - 1),
                "pictures": [pack_picture(values[None]) for values in (found.exact, found.learned)],
                "fields": [pack_binary(field, "<f4") for field in (found.exact_field, found.learned_field)],
                "error": found.error,
            }
        if self._is_stale("guided", (*state, self.scale)):
            drawn = self.qgpo.draw(self.state.expand(_GUIDED_DRAWS, -1), scale=self.scale, generator=self._generator())
            self.guided = pack_binary(drawn, "<f4")
        self._worker.idle = True
        yield
        if self.rollout and not self.paths.get("finished"):
            yield from self._drive()

    def _is_stale(self, part: str, settings: tuple) -> bool:
        """Whether this part is shown for other settings than these; they are noted."""
        stale = self._done.get(part) != settings
        self._done[part] = settings
        return stale

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def _drive(self) -> Iterator[None]:
        """Drive one episode of each policy side by side, shown as it grows."""
        scale = self.scale
        policies = {"guided": guided_policy(self.qgpo, scale, self.seed)}
        if self.qgpo.cloning is not None:
            policies["cloning"] = partial(clone_policy, self.qgpo)
        policies["best of K"] = best_of_k_policy(self.qgpo, self.qgpo.config.support_actions, self.seed)
        start = {"state": self.state.numpy()}
        with find_environment(maze.NAME).opened(len(policies)) as opened:
            envs = dict(zip(policies, opened, strict=True))
            states = {name: env.reset(seed=self.seed, options=start)[0] for name, env in envs.items()}
            paths = {name: [state[:2]] for name, state in states.items()}
            earned, shown = dict.fromkeys(policies, 0.0), time.perf_counter()
            for step in range(1, maze.STEPS + 1):
                for name, env in envs.items():
                    action = act(policies[name], states[name][None], env.action_space)[0]
                    states[name], reward, *_ = env.step(action)
                    paths[name].append(states[name][:2])
                    earned[name] += float(reward)
                if step == maze.STEPS or time.perf_counter() - shown > _SHOWN_EVERY:
                    packed = {name: np.stack(places).astype("<f4").tobytes() for name, places in paths.items()}
                    about = {"scale": scale, "finished": step == maze.STEPS, "steps": step}
                    self.paths = {**about, "paths": packed, "returns": dict(earned)}
                    shown = time.perf_counter()
                yield
