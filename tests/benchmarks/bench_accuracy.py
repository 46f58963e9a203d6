"""Accuracy of the truth: the worst errors per toy over all times and inverse temperatures of the tests."""

from checks import BETAS, FINE_TIMES, TIMES, doubled_nodes, float32_errors, node_doubling_errors

from cepkit.truth.toys import make_toy


def worst(errors):
    """The largest error and the field it belongs to."""
    return max((error, name) for fields in errors for name, error in fields.items())


def test_twice_the_nodes(row, toy):
    with doubled_nodes():
        nodes = toy.truth.components(0.05).count, make_toy(toy.name).truth.components(0.05).count
    error, name = worst(node_doubling_errors(toy, t, beta) for t in TIMES for beta in BETAS)
    doubled = nodes[1] >= 1.9 * nodes[0] or toy.name in ("8gaussians", "checkerboard")
    note = (
        f"{nodes[0]} -> {nodes[1]} nodes" if nodes[1] > nodes[0] else "closed form, no nodes" if doubled else "NODES NOT DOUBLED"
    )
    row(f"float64, nodes doubled, {toy.name}", "1e-6 relative", f"{error:.1e} ({name}; {note})", error <= 1e-6 and doubled)


def test_float32(row, toy):
    error, name = worst(float32_errors(toy.truth, t, beta) for t in FINE_TIMES for beta in (3.0, 50.0))
    row(f"float32 against float64, {toy.name}", "1e-3 relative", f"{error:.1e} ({name})", error <= 1e-3)
