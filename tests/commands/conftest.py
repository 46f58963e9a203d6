"""No test of this folder may reach the network or the user's own data."""

from no_network import folder  # noqa: F401
