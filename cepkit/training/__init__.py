"""Training a denoiser and an energy net: `Training` in memory, `Run` in a folder, `load_run` to use the result."""

from cepkit.training.config import TrainingConfig
from cepkit.training.data import DataSource
from cepkit.training.history import History
from cepkit.training.loop import NonFiniteLoss, Training, TrainingStep
from cepkit.training.run import LoadedRun, Run, load_run, resume_run, start_run

__all__ = [
    "DataSource",
    "History",
    "LoadedRun",
    "NonFiniteLoss",
    "Run",
    "Training",
    "TrainingConfig",
    "TrainingStep",
    "load_run",
    "resume_run",
    "start_run",
]
