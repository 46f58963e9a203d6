"""Datasets: names, files, transitions, rewards and reference scores."""
