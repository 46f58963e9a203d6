"""Environments: physics engines, mazes and rollouts."""
