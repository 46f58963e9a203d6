"""What decides a QGPO run: one frozen configuration, and presets for families of tasks.

"locomotion" and "antmaze" are the settings of Lu et al. (2023) and their code, a day on a GPU. "maze" and "halfcheetah-small"
are small: minutes on a laptop. They add what small data and few steps need, each a switch of its own: observations and returns
in units of their spread, a warm start of Q on the data's own returns, targets cut to the possible range, and beta in units of
the spread of Q over the support, without which a reward of another scale is another amount of guidance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from cepkit.diffusion.process import PARAMETRISATIONS
from cepkit.diffusion.sampling import METHODS
from cepkit.diffusion.schedules import Schedule, VPLinear
from cepkit.learning.config import LARGEST_SEED
from cepkit.learning.losses import LABELS
from cepkit.rl.agent.layers import TIME_FEATURES
from cepkit.rl.data.scores import FAMILIES
from cepkit.validation import check_beta, check_keys, check_name, check_number

BACKUPS = ("softmax", "expectile")
Q_SCALES = ("none", "std", "state")
DECAYS = ("constant", "cosine")
SUPPORT_METHODS = tuple(method for method in METHODS if method != "sde")
_WHOLE_NUMBERS = {
    "behaviour_steps": 1, "behaviour_batch": 1, "behaviour_embedding": 1, "support_actions": 2, "support_steps": 1,
    "support_chunk": 1, "warm_start_steps": 0, "critic_steps": 0, "critic_batch": 1, "critics": 1, "critic_width": 1,
    "critic_layers": 1, "energy_steps": 0, "energy_batch": 1, "energy_width": 1, "energy_layers": 1, "cloning_steps": 0,
    "act_steps": 1,
}  # fmt: skip
_RATES = ("behaviour_learning_rate", "critic_learning_rate", "energy_learning_rate")
_SWITCHES = (
    "normalize_observations",
    "clip_targets",
    "critic_norm",
    "modulated",
    "together",
    "pooled",
    "mixed_precision",
    "compile",
)


@dataclass(frozen=True)
class QGPOConfig:
    """Settings of a run; the same settings, data and machine give the same weights to the bit.

    Attributes:
        family: of the task, which decides how rewards are rescaled (`cepkit.rl.data.rewards`).
        seed: of the initial weights and of every random draw.
        beta: inverse temperature of the guided policy, p(a|s) ∝ mu(a|s) exp(beta Q(s, a)).
        beta_q: that of the policy whose value the backup takes, a softmax over the support; 0 evaluates the behaviour itself.
        backup: value of the next state: "softmax", over its support as in the paper, or "expectile", a network V(s) that follows
            an upper expectile of Q over the data's own actions (Kostrikov et al. 2022, IQL), which needs no support actions.
        expectile: which one, from 0.5, the mean, to below 1, their maximum.
        discount: of the rewards, per step.
        normalize_observations: shift and scale every coordinate of a state by its mean and spread over the data.
        decay: of the learning rates, "constant", or "cosine" to 0 over the steps of each network.
        ema: decay of the moving average of behaviour and energy net that is kept; 0 keeps the last weights.
        t_min: noise levels are drawn from [t_min, 1] uniformly.
        behaviour_steps, behaviour_batch, behaviour_learning_rate: of the behaviour stage.
        behaviour_widths: of the residual blocks on the way down; the way up mirrors them.
        behaviour_embedding: width of the joint embedding of state and time.
        behaviour_target: what the network predicts and is trained on, "eps", "x0", "v" or "score".
        time_features: how networks see t, "log_snr", or "fourier" of scale 30 as in the paper's code.
        support_actions: K, drawn from the behaviour once for every state.
        support_steps, support_method: of their sampler.
        support_chunk: states sampled at a time; decides memory, and which noise goes where.
        critic_batch, critic_learning_rate, tau: of Q; its target network follows by `tau` a step.
        critics: how many Q networks, of which the least counts.
        critic_width, critic_layers: hidden units and hidden layers of each.
        critic_norm: layer normalisation in Q.
        warm_start_steps: regression of Q on the data's own discounted returns, before the backups.
        critic_steps: of the backup.
        clip_targets: cut targets of Q to what the rewards allow.
        q_scale: what beta and beta_q count Q in: "none" its own units; "std" the spread of Q over the support of a state,
            one number for all states; "state" each state's own spread where it is larger than that number, so that a state
            in which Q varies much is not guided by its best action alone.
        energy_steps, energy_batch, energy_learning_rate: of the energy net, the batch in states, each with its K actions.
        energy_width, energy_layers: hidden units and hidden layers.
        modulated: let state and time scale and shift every layer of the energy net, rather than join the action at the first.
        together: train the energy net beside Q from the first backup, as the paper does; otherwise once Q is finished.
        labels: of CEP, "normalized" or "unnormalized" (then K actions are drawn from the support with replacement).
        pooled: average labels over the support, see `cepkit.learning.losses.pooled_energy`.
        cloning_steps: of behaviour cloning, the baseline, with batch, learning rate and width of the critics.
        scales: guidance scales worth trying.
        act_steps: of the sampler that acts.
        mixed_precision: bfloat16 where it is safe.
        compile: compile the networks with torch.compile.
    """

    family: str = "maze"
    seed: int = 0
    beta: float = 1.0
    beta_q: float = 1.0
    backup: str = "softmax"
    expectile: float = 0.7
    discount: float = 0.99
    normalize_observations: bool = True
    decay: str = "cosine"
    ema: float = 0.995
    t_min: float = 1e-3
    behaviour_steps: int = 4000
    behaviour_batch: int = 256
    behaviour_learning_rate: float = 2e-3
    behaviour_widths: tuple[int, ...] = (64, 32)
    behaviour_embedding: int = 64
    behaviour_target: str = "v"
    time_features: str = "log_snr"
    support_actions: int = 16
    support_steps: int = 8
    support_method: str = "dpmpp2m"
    support_chunk: int = 1024
    critic_batch: int = 256
    critic_learning_rate: float = 2e-3
    tau: float = 0.005
    critics: int = 2
    critic_width: int = 64
    critic_layers: int = 2
    critic_norm: bool = True
    warm_start_steps: int = 1500
    critic_steps: int = 5000
    clip_targets: bool = True
    q_scale: str = "state"
    energy_steps: int = 6000
    energy_batch: int = 128
    energy_learning_rate: float = 5e-3
    energy_width: int = 64
    energy_layers: int = 3
    modulated: bool = True
    together: bool = False
    labels: str = "normalized"
    pooled: bool = True
    cloning_steps: int = 2000
    scales: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
    act_steps: int = 10
    mixed_precision: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        numbers: dict[str, object] = {"beta": check_beta(self.beta)}
        numbers["seed"] = check_number(self.seed, name="seed", low=0, high=LARGEST_SEED // len(STREAMS), integer=True)
        for name, low in _WHOLE_NUMBERS.items():
            numbers[name] = check_number(getattr(self, name), name=name, low=low, high=LARGEST_SEED, integer=True)
        for name in _RATES:
            numbers[name] = check_number(getattr(self, name), name=name, low=1e-12, high=10.0)
        numbers["beta_q"] = check_number(self.beta_q, name="beta_q", low=0.0)
        numbers["expectile"] = check_number(self.expectile, name="expectile", low=0.5, high=0.999)
        numbers["discount"] = check_number(self.discount, name="discount", low=0.0, high=0.999999)
        numbers["ema"] = check_number(self.ema, name="ema", low=0.0, high=0.999999)
        numbers["t_min"] = check_number(self.t_min, name="t_min", low=1e-6, high=0.5)
        numbers["tau"] = check_number(self.tau, name="tau", low=1e-6, high=1.0)
        numbers["behaviour_widths"] = tuple(
            check_number(width, name="behaviour_widths", low=1, integer=True) for width in _sequence(self, "behaviour_widths")
        )
        numbers["scales"] = tuple(check_number(scale, name="scales", low=0.0) for scale in _sequence(self, "scales"))
        for name, value in numbers.items():  # plain numbers, whatever came
            object.__setattr__(self, name, value)
        check_name(self.family, FAMILIES, name="family")
        check_name(self.backup, BACKUPS, name="backup")
        check_name(self.decay, DECAYS, name="decay")
        check_name(self.behaviour_target, PARAMETRISATIONS, name="behaviour_target")
        check_name(self.time_features, TIME_FEATURES, name="time_features")
        check_name(self.support_method, SUPPORT_METHODS, name="support_method")
        check_name(self.q_scale, Q_SCALES, name="q_scale")
        check_name(self.labels, LABELS, name="labels")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: expected True or False, got {getattr(self, name)!r}")

    @property
    def schedule(self) -> Schedule:
        """The paper's noise schedule."""
        return VPLinear()

    def with_seed(self, seed: int) -> QGPOConfig:
        """The same settings with another seed."""
        return replace(self, seed=seed)

    def stream(self, name: str) -> int:
        """The seed of one of the random streams of a run."""
        return len(STREAMS) * self.seed + STREAMS.index(name)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> QGPOConfig:
        """The configuration that `to_dict` described; missing keys take their defaults.

        Raises:
            ValueError: an unknown key, by name, or a value out of range.
        """
        check_keys(values, cls, name="config")
        return cls(**values)

    @classmethod
    def preset(cls, name: str) -> QGPOConfig:
        """One of `PRESETS` by name.

        Raises:
            ValueError: an unknown name.
        """
        return PRESETS[check_name(name, PRESETS, name="preset")]


STREAMS = ("behaviour", "support", "critic", "cloning")


def _sequence(config: QGPOConfig, name: str) -> tuple[object, ...]:
    value = getattr(config, name)
    if not isinstance(value, (tuple, list)) or not value:
        raise ValueError(f"{name}: expected a sequence of at least one number, got {value!r}")
    return tuple(value)


_LOCOMOTION = QGPOConfig(
    family="locomotion",
    beta=3.0,
    normalize_observations=False,
    decay="constant",
    ema=0.0,
    behaviour_steps=600_000,
    behaviour_batch=4096,
    behaviour_learning_rate=1e-4,
    behaviour_widths=(512, 256, 128),
    behaviour_embedding=128,
    behaviour_target="eps",
    support_actions=16,
    support_steps=15,
    critic_learning_rate=3e-4,
    critic_width=256,
    critic_layers=3,
    critic_norm=False,
    warm_start_steps=0,
    critic_steps=500_000,
    clip_targets=False,
    q_scale="none",
    energy_steps=1_000_000,
    energy_batch=256,
    energy_learning_rate=3e-4,
    energy_width=256,
    energy_layers=4,
    modulated=False,
    together=True,
    pooled=False,
    cloning_steps=500_000,
    scales=(0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 10.0),
    act_steps=15,
)

PRESETS: dict[str, QGPOConfig] = {
    "locomotion": _LOCOMOTION,
    "antmaze": replace(_LOCOMOTION, family="antmaze", support_actions=32, scales=(1.0, 1.5, 2.0, 2.5, 3.0, 4.0)),
    "maze": QGPOConfig(),
    # Q is the regression on the data's own returns alone: expectile backups (with a smaller behaviour model) did not pay,
    # softmax ones were not evaluated, see data/halfcheetah-study.json
    "halfcheetah-small": QGPOConfig(
        family="locomotion",
        ema=0.999,
        behaviour_steps=12_000,
        behaviour_widths=(256, 128),
        behaviour_embedding=128,
        support_steps=6,
        critic_learning_rate=1e-3,
        critics=4,
        critic_width=256,
        tau=0.02,
        warm_start_steps=4000,
        critic_steps=0,
        energy_steps=3000,
        energy_width=128,
        cloning_steps=0,
        scales=(0.0, 0.5, 1.0, 2.0, 4.0),
        act_steps=6,
    ),
}
"""Settings by name: the paper's for its two families, and small ones."""
