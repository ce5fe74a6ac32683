"""Training with fixed statistics of the norms, so that a batch may be split among devices without a difference."""

from lightning.pytorch import Callback
from torch import nn


class FrozenNorms(Callback):
    """Normalise with the running statistics in training too."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        """Set the norms to evaluation, after Lightning has set the network to training."""
        for module in pl_module.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                module.eval()
