"""An experiment: what a person asks for, resolved into objectives, tasks and run specifications."""

from bench.experiment.experiment import Experiment, resolve
from bench.experiment.objectives import UNTRAINED, own_classes

__all__ = ["UNTRAINED", "Experiment", "own_classes", "resolve"]
