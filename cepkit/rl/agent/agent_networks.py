"""The networks of QGPO, each usable alone or as a stack of `members` that train side by side.

    behaviour   a residual U of fully connected layers on noisy actions; state and noise level enter every block as a shift
                (Lu et al. 2023; widths 512, 256, 128 there)
    critics     Q(s, a), several at once (twins), of which one uses the least
    energy net  f(a_t, t, s), the intermediate energy over actions
    cloning     the deterministic baseline

A stack holds the weights of its members along a first axis, under the names that one network has, so that a member can be
taken out, saved and loaded as a network of its own. Its inputs and outputs have the same first axis.

A first layer that joins a state with K actions multiplies the state once, not K times.
"""

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, relu, silu

from cepkit.learning.networks import LEVEL_FEATURES, level_features
from cepkit.rl.agent.qgpo_config import QGPOConfig

_STATE_FEATURES = 32
_TIME_FEATURES = 32
Members = tuple[int, ...]


class Linear(nn.Module):
    """One affine map, or one for each member: (*members, ..., inputs) -> (*members, ..., outputs)."""

    def __init__(self, inputs: int, outputs: int, members: Members = (), *, bias: bool = True, fan_in: int | None = None) -> None:
        super().__init__()
        bound = 1 / math.sqrt(fan_in or inputs)
        self.members = members
        self.weight = nn.Parameter(torch.empty(*members, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(*members, outputs).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if not self.members:
            return linear(x, self.weight, self.bias)
        outputs, inputs = self.weight.shape[-2:]
        rows = x.reshape(math.prod(self.members), -1, inputs)
        weight = self.weight.reshape(-1, outputs, inputs).transpose(1, 2)
        if self.bias is None:
            value = torch.bmm(rows, weight)
        else:
            value = torch.baddbmm(self.bias.reshape(-1, 1, outputs), rows, weight)
        return value.reshape(*x.shape[:-1], outputs)


class Norm(nn.Module):
    """Layer normalisation (Ba et al. 2016), or one for each member."""

    def __init__(self, width: int, members: Members = ()) -> None:
        super().__init__()
        self.members = members
        self.weight = nn.Parameter(torch.ones(*members, width))
        self.bias = nn.Parameter(torch.zeros(*members, width))

    def forward(self, x: Tensor) -> Tensor:
        shape = self.members + (1,) * (x.ndim - len(self.members) - 1) + x.shape[-1:]
        return torch.addcmul(self.bias.reshape(shape), layer_norm(x, x.shape[-1:]), self.weight.reshape(shape))


def shaped(t: Tensor | float, like: Tensor, members: Members) -> Tensor:
    """Times as (*members, B, 1...): one for each leading index of `like`, or of all, ready to go with features."""
    t = torch.as_tensor(t, dtype=like.dtype, device=like.device)
    if t.ndim <= len(members):
        t = t.expand(members)
    return t.reshape(t.shape + (1,) * (like.ndim - 1 - t.ndim))


def aligned(x: Tensor, like: Tensor, members: Members) -> Tensor:
    """`x` with as many axes as `like`, the missing ones put in front of the batch, as broadcasting does without members."""
    return x.reshape(x.shape[: len(members)] + (1,) * (like.ndim - x.ndim) + x.shape[len(members) :])


class _Block(nn.Module):
    """A residual block of two layers whose middle is shifted by the embedding."""

    def __init__(self, inputs: int, outputs: int, embedding: int, members: Members) -> None:
        super().__init__()
        self.shift = Linear(embedding, outputs, members)
        self.first = Linear(inputs, outputs, members)
        self.second = Linear(outputs, outputs, members)
        self.straight = Linear(inputs, outputs, members) if inputs != outputs else None

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        h = silu(self.second(silu(self.first(x)) + self.shift(embedded)))
        return h + (x if self.straight is None else self.straight(x))


class BehaviourNet(nn.Module):
    """The network of an action denoiser: a_t (*members, ..., A), states that broadcast with it (*members, ..., S).

    Args:
        sizes: of a state and an action, (S, A).
        members: () for one network, (E,) for a stack.
    """

    def __init__(self, sizes: tuple[int, int], config: QGPOConfig, members: Members = ()) -> None:
        super().__init__()
        (state_dim, action_dim), widths, embedding = sizes, config.behaviour_widths, config.behaviour_embedding
        self.members, self.schedule = members, config.schedule
        self.time_layer = Linear(LEVEL_FEATURES, _TIME_FEATURES, members)
        self.state_layer = Linear(state_dim, _STATE_FEATURES, members)
        self.join = Linear(_STATE_FEATURES + _TIME_FEATURES, embedding, members)
        self.embed = Linear(embedding, embedding, members)
        down = (action_dim, *widths)
        self.down = nn.ModuleList(_Block(a, b, embedding, members) for a, b in itertools.pairwise(down))
        self.middle = _Block(widths[-1], widths[-1], embedding, members)
        up = list(zip(widths[::-1], widths[-2::-1], strict=False))
        self.up = nn.ModuleList(_Block(2 * a, b, embedding, members) for a, b in up)
        self.last = Linear(2 * widths[0], action_dim, members)

    def forward(self, a_t: Tensor, t: Tensor | float, states: Tensor) -> Tensor:
        """Predict at a_t, for one t for all, or one per leading index of the batch."""
        at_state = silu(self.state_layer(aligned(states, a_t, self.members)))
        t = shaped(t, a_t, self.members)
        at_time = self.time_layer(level_features(self.schedule.alpha(t), self.schedule.sigma(t)))
        lead = torch.broadcast_shapes(at_state.shape[:-1], at_time.shape[:-1])
        joined = torch.cat([at_state.expand(*lead, -1), at_time.expand(*lead, -1)], -1)
        embedded = silu(self.embed(silu(self.join(joined))))
        h, kept = a_t, []
        for block in self.down:
            h = block(h, embedded)
            kept.append(h)
        h = self.middle(h, embedded)
        for block in self.up:
            h = block(torch.cat([kept.pop(), h], -1), embedded)
        return self.last(torch.cat([kept.pop(), h], -1))


class _JointMLP(nn.Module):
    """State (and time) as `common` (*members, ..., C) and action as `own` (*members, ..., D), which broadcast -> (*members, ...).

    They meet after the first layer.
    """

    def __init__(
        self, common: int, own: int, width: int, layers: int, members: Members, *, activation: Callable, norm: bool, level: bool
    ) -> None:
        super().__init__()
        self.common = Linear(common, width, members, fan_in=common + own)
        self.own = Linear(own, width, members, bias=False, fan_in=common + own)
        self.hidden = nn.ModuleList(Linear(width, width, members) for _ in range(layers - 1))
        self.norms = nn.ModuleList(Norm(width, members) for _ in range(layers if norm else 0))
        self.last = Linear(width, 1, members, bias=level)
        self.activation = activation

    def forward(self, common: Tensor, own: Tensor) -> Tensor:
        h = self.common(common) + self.own(own)
        for i, layer in enumerate((None, *self.hidden)):
            h = h if layer is None else layer(h)
            h = self.activation(self.norms[i](h) if self.norms else h)
        return self.last(h).squeeze(-1)


class _ModulatedMLP(nn.Module):
    """The same up to a constant, but the common part has its own layers, and scales and shifts every layer of the other.

    The state's part is computed once for its K actions, and products of state and action come easily.
    """

    def __init__(self, common: int, own: int, width: int, layers: int, members: Members) -> None:
        super().__init__()
        embedding = 2 * width
        self.embed = nn.ModuleList([Linear(common, embedding, members), Linear(embedding, embedding, members)])
        self.films = nn.ModuleList(Linear(embedding, 2 * width, members) for _ in range(layers))
        self.layers = nn.ModuleList(Linear(width if i else own, width, members, bias=False) for i in range(layers))
        self.last = Linear(width, 1, members, bias=False)

    def forward(self, common: Tensor, own: Tensor) -> Tensor:
        embedded = common
        for layer in self.embed:
            embedded = silu(layer(embedded))
        h = own
        for layer, film in zip(self.layers, self.films, strict=True):
            scale, shift = film(embedded).chunk(2, -1)
            h = silu(torch.addcmul(shift, layer(h), 1 + scale))
        return self.last(h).squeeze(-1)


class Critics(nn.Module):
    """Several independent Q(s, a); states (*members, ..., S) and actions (*members, ..., A) broadcast.

    A call gives all of them, (*members, critics, ...); `least` the smallest, (*members, ...). The networks work in units of
    `shift` and `size`, the mean and spread of returns where these are known.
    """

    shift: Tensor
    size: Tensor

    def __init__(self, sizes: tuple[int, int], config: QGPOConfig, members: Members = ()) -> None:
        super().__init__()
        self.members, self.critics = members, config.critics
        self.register_buffer("shift", torch.zeros(members))
        self.register_buffer("size", torch.ones(members))
        shape = (*sizes, config.critic_width, config.critic_layers, (*members, config.critics))
        self.net = _JointMLP(*shape, activation=relu, norm=config.critic_norm, level=True)

    def set_scale(self, shift: float, size: float) -> None:
        """Set the units of the output."""
        self.shift.fill_(shift)
        self.size.fill_(max(size, 1e-6))

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        axis = len(self.members)
        states, actions = aligned(states, actions, self.members), aligned(actions, states, self.members)
        inputs = (x.unsqueeze(axis).expand(*x.shape[:axis], self.critics, *x.shape[axis:]) for x in (states, actions))
        value = self.net(*inputs)
        shape = self.members + (1,) * (value.ndim - axis)
        return torch.addcmul(self.shift.reshape(shape), value, self.size.reshape(shape))

    def least(self, states: Tensor, actions: Tensor) -> Tensor:
        """min over the critics, (*members, ...)."""
        return self(states, actions).amin(len(self.members))


class EnergyNet(nn.Module):
    """f(a_t, t, s) up to C(t, s): a_t (*members, ..., A) and states that broadcast with it -> (*members, ...)."""

    def __init__(self, sizes: tuple[int, int], config: QGPOConfig, members: Members = ()) -> None:
        super().__init__()
        self.members, self.schedule = members, config.schedule
        self.time_layer = Linear(LEVEL_FEATURES, _TIME_FEATURES, members)
        shape = (sizes[0] + _TIME_FEATURES, sizes[1], config.energy_width, config.energy_layers, members)
        # contrasts of one state and t cannot tell a constant, whose weights would follow rounding errors alone
        self.net = _ModulatedMLP(*shape) if config.modulated else _JointMLP(*shape, activation=silu, norm=False, level=False)

    def forward(self, a_t: Tensor, t: Tensor | float, states: Tensor) -> Tensor:
        """f at a_t, for one t for all, or one per leading index of the batch."""
        states = aligned(states, a_t, self.members)
        t = shaped(t, a_t, self.members)
        at_time = self.time_layer(level_features(self.schedule.alpha(t), self.schedule.sigma(t)))
        lead = torch.broadcast_shapes(states.shape[:-1], at_time.shape[:-1])
        return self.net(torch.cat([states.expand(*lead, -1), at_time.expand(*lead, -1)], -1), a_t)


class CloningNet(nn.Module):
    """A deterministic policy: states (*members, ..., S) -> actions (*members, ..., A) in (-1, 1)."""

    def __init__(self, sizes: tuple[int, int], config: QGPOConfig, members: Members = ()) -> None:
        super().__init__()
        widths = (sizes[0], *(config.critic_width,) * config.critic_layers)
        self.hidden = nn.ModuleList(Linear(a, b, members) for a, b in itertools.pairwise(widths))
        self.last = Linear(widths[-1], sizes[1], members)

    def forward(self, states: Tensor) -> Tensor:
        h = states
        for layer in self.hidden:
            h = relu(layer(h))
        return self.last(h).tanh()


NETWORKS = {
    "behaviour": {"behaviour": BehaviourNet},
    "critic": {"critic": Critics, "energy": EnergyNet},
    "cloning": {"cloning": CloningNet},
}


def make_networks(stage: str, sizes: tuple[int, int], config: QGPOConfig, seeds: int | tuple[int, ...]) -> dict[str, nn.Module]:
    """Make the networks of a stage by name from the run's seed, or stacks of several; `sizes` are those of state and action."""
    return {name: _build(partial(kind, sizes, config), seeds) for name, kind in NETWORKS[stage].items()}


def _build(make: Callable[..., nn.Module], seeds: int | tuple[int, ...]) -> nn.Module:
    singles = []
    for seed in seeds if isinstance(seeds, tuple) else (seeds,):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            singles.append(make(()))
    if not isinstance(seeds, tuple):
        return singles[0]
    with torch.random.fork_rng(devices=[]):
        stack = make((len(seeds),))
    weights, buffers = torch.func.stack_module_state(singles)
    stack.load_state_dict(weights | buffers)
    return stack
