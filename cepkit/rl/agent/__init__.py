"""QGPO: the behaviour model, support actions, the critic and the guided policy."""
