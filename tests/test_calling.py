"""What a user hands in is called with copies, checked when it returns, and found with the networks that it uses."""

import warnings
from functools import partial

import pytest
import torch
from torch import nn

from cepkit.calling import call_field, check_field, evaluation_mode, field_fault, modules_of, words_of

X = torch.arange(10.0).reshape(5, 2)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch means to give these up
    QUANTISED = torch.quantize_per_tensor(X, 0.1, 0, torch.quint8)
NET = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))


class Wordless(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("value", "kind", "came"),
    [
        (None, "type", "NoneType"),
        ((X,), "type", "tuple"),
        (X.tolist(), "type", "list"),
        ("zeros", "type", "str"),
        (X.numpy(), "type", "ndarray"),
        (X.to_sparse(), "type", "a sparse_coo tensor"),
        (QUANTISED, "type", "a quantised tensor"),
        (X[:, :1], "shape", r"\(5, 1\)"),
        (X[0], "shape", r"\(2,\)"),
        (X.T, "shape", r"\(2, 5\)"),
        (X[None], "shape", r"\(1, 5, 2\)"),
        (X[:0], "shape", r"\(0, 2\)"),
        (X.to(torch.complex64), "dtype", "torch.complex64"),
        (X.long(), "dtype", "torch.int64"),
        (X > 0, "dtype", "torch.bool"),
        (X.to("meta"), "device", "one on meta"),
    ],
)
def test_a_value_that_is_no_field_is_refused_in_one_wording(value, kind, came):
    assert field_fault(value, X).kind == kind
    with pytest.raises(ValueError, match=f"^guidance: expected .* got {came}$"):
        check_field(value, X, "guidance")


def test_a_field_comes_back_in_the_dtype_of_the_points_with_its_gradient():
    x = X.clone().requires_grad_(True)
    value = check_field(x.double() ** 2, x, "guidance")
    assert value.dtype == torch.float32 and torch.equal(torch.autograd.grad(value.sum(), x)[0], 2 * X)
    assert check_field(X.bfloat16(), X, "guidance").dtype == torch.float32
    assert check_field(X[:, 0], X, "energy", per_point=True).shape == (5,)
    with pytest.raises(ValueError, match=r"^energy: expected one energy per point, shape \(5,\), got \(5, 1\)$"):
        check_field(X[:, :1], X, "energy", per_point=True)


def changes_everything(x, t):
    value = -x.clone()
    x.zero_()
    t += 1
    x.requires_grad_(True)
    return value


def test_what_is_handed_over_is_a_copy():
    x, t = X.clone(), torch.tensor(0.5)
    assert torch.equal(call_field(changes_everything, "guidance", x, t), -X)
    assert torch.equal(x, X) and float(t) == 0.5 and not x.requires_grad


def stops(x, t):
    raise StopIteration


@pytest.mark.parametrize(
    ("function", "came"),
    [
        (lambda: X, "TypeError: .*takes 0 positional arguments but 2 were given"),
        (lambda x: X, "TypeError: .*takes 1 positional argument but 2 were given"),
        (lambda x, t: x.missing, "AttributeError: .*missing"),
        (lambda x, t: {}["weights"], "KeyError: 'weights'"),
        (lambda x, t: 1 / 0, "ZeroDivisionError"),
        (stops, "StopIteration"),
        (None, "TypeError: 'NoneType' object is not callable"),
    ],
)
def test_an_exception_of_python_s_own_says_whose_callable_raised_it(function, came):
    with pytest.raises(ValueError, match=rf"^guidance: expected a callable \(x_t, t\) -> tensor, got {came}") as caught:
        call_field(function, "guidance", X, 0.5)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("error", [Wordless(), ValueError("mine"), OSError("disk"), torch.OutOfMemoryError("full")])
def test_an_exception_of_the_user_s_own_passes_as_it_is(error):
    def function(x, t):
        raise error

    with pytest.raises(type(error)) as caught:
        call_field(function, "guidance", X, 0.5)
    assert caught.value is error


def test_words_of_an_exception_that_cannot_be_printed():
    assert words_of(Wordless()) == "test_calling.Wordless: <exception str() failed>"
    assert words_of(RuntimeError("one\ntwo")) == "RuntimeError: one"


def test_one_that_needs_gradients_is_told_how_to_have_them():
    def guidance(x, t):
        return -torch.autograd.grad(x.requires_grad_(True).square().sum(), x)[0]

    with torch.no_grad(), pytest.raises(ValueError, match=r"^guidance: .*with torch.enable_grad\(\):` inside$"):
        call_field(guidance, "guidance", X, 0.5)


def test_a_network_of_another_dtype_is_named_with_its_own():
    network = nn.Linear(2, 2).double()
    with pytest.raises(
        ValueError, match=r"^denoiser: .*weights are torch.float64 on cpu and x_t is torch.float32 on cpu \(.*from_module"
    ):
        call_field(lambda x, t: network(x), "denoiser", X, 0.5)


# -- the networks behind a callable ------------------------------------------------------------------------------------


class Holder:
    def __init__(self, network):
        self.networks = {"mine": [network]}

    def field(self, x, t):
        return self.networks["mine"][0](x)


def through_an_inner_function(x, t):
    def inner(y):
        return NET(y)

    return inner(x)


CALLABLES = {
    "itself": NET,
    "a closure": (lambda network: lambda x, t: network(x))(NET),
    "a default argument": lambda x, t, network=NET: network(x),
    "a keyword": partial(lambda x, t, *, network: network(x), network=NET),
    "a partial": partial(NET),
    "a method of its own": NET.forward,
    "a method of an owner": Holder(NET).field,
    "a global": lambda x, t: NET(x),
    "a global in an inner function": through_an_inner_function,
    "a partial of a closure in a partial": partial(partial((lambda network: lambda x, t: network(x))(NET))),
    "a wrapped function": torch.no_grad()(lambda x, t: NET(x)),
}


@pytest.mark.parametrize("case", CALLABLES)
def test_the_network_behind_a_callable_is_found_with_its_parts(case):
    assert modules_of(CALLABLES[case]) == list(NET.modules())


def test_a_callable_without_networks_has_none():
    def recursive(x, t):
        return recursive(x, t) + unknown  # noqa: F821

    assert modules_of(torch.tanh) == modules_of(recursive) == modules_of(None) == modules_of([1.0]) == []


def test_evaluation_mode_leaves_every_part_as_it_was_found():
    network = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5).eval())  # a part that someone froze
    with pytest.raises(KeyError), evaluation_mode(modules_of(network)):
        assert not any(part.training for part in network.modules())
        raise KeyError
    assert [part.training for part in network.modules()] == [True, True, False]
