"""Layers that one network has alone, or a stack of networks has side by side: weights with a first axis of `members`."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

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
