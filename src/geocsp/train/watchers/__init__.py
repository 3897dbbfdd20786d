"""Watchers: what shows or keeps the numbers of a run. One file is one place for them."""

from geocsp.train.watchers.console import Console
from geocsp.train.watchers.json_lines import JsonLines
from geocsp.train.watchers.tensorboard import TensorBoard
from geocsp.train.watchers.wandb import WandB

__all__ = ["Console", "JsonLines", "TensorBoard", "WandB"]
