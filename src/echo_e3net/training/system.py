"""The Lightning module: network, loss, optimizer and scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import GradClipAlgorithmType, rank_zero_info
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from echo_e3net.errors import InputError
from echo_e3net.losses import E3Loss, TermSum
from echo_e3net.metrics import SplitScores
from echo_e3net.nn.inference import for_inference
from echo_e3net.nn.network import E3Net
from echo_e3net.training.norms import update_norms
from echo_e3net.training.restoring import Restorable
from echo_e3net.training.schedules import schedule_of
from echo_e3net.training.starting import Start
from echo_e3net.types import E3Output, EchoClip

SMALL_BATCH = 8
"""Largest batch size at which a compiled network replays a CUDA graph. For small batches, launching the kernels takes
longer than running them."""


class WarmupCosine(LambdaLR):
    """Linear warm-up, then half a cosine. A run that is resumed with more epochs continues on the longer curve.

    Args:
        optimizer: optimizer whose rate is scheduled.
        total_steps: optimizer steps of the whole run; null in a configuration: those of the run.
        warmup: fraction of the steps that warm up, 0…1.
        floor: last rate, as a fraction of the optimizer's.
    """

    def __init__(
        self, optimizer: Optimizer, total_steps: int | None = None, warmup: float = 0.1, floor: float = 0.01
    ) -> None:
        assert total_steps is not None
        if not (0 <= warmup <= 1 and 0 <= floor <= 1):
            raise InputError(f"scheduler.warmup is {warmup} and scheduler.floor {floor}; expected fractions, 0 to 1.")
        warm = max(1, round(warmup * total_steps))

        def factor(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            done = min(1.0, (step - warm) / max(1, total_steps - warm))
            return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2

        super().__init__(optimizer, factor)


class E3System(Restorable):
    """Trains and evaluates an Echo-E³Net.

    Args:
        network: the network.
        loss: the combined loss.
        optimizer: makes the optimizer from the parameters of the network.
        scheduler: makes the schedule from the optimizer; it advances per optimizer step, ReduceLROnPlateau per epoch.
            An argument ``total_steps`` that is null becomes the number of steps of the run. null: a constant rate.
        compile: whether torch.compile compiles the network, without graph breaks, on a GPU. Small batches replay a CUDA
            graph. Compiling takes about a minute.
    """

    training_ef: Tensor  # mean EF of the training split, a fraction: the baseline of the results; NaN: not measured
    read: Callable[..., E3Output]
    start: Start | None = None  # the model that gave the first weights
    exported: str | None = None  # the exported folder that gave the weights

    def __init__(
        self,
        network: E3Net,
        loss: E3Loss,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = AdamW,
        scheduler: Callable[[Optimizer], LRScheduler] | None = WarmupCosine,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.compiles = compile
        self.network, self.loss = network, loss
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        if network.detector is None and (needing := sorted(set(loss.terms) - {"ef"})):
            why = "require a border detector, but model.network.detector is null"
            raise InputError(f"model.loss: the terms {', '.join(needing)} {why}. Set these terms to null.")
        self.scores = SplitScores()
        self.norm_batches: list[tuple[Tensor, Tensor]] | None = None
        self.norms_lag = False
        self.register_buffer("training_ef", torch.tensor(torch.nan))

    def setup(self, stage: str) -> None:
        """Compile the network for training if that is asked for.

        Raises:
            InputError: the device is not a GPU.
        """
        if not self.compiles or stage != "fit":
            return
        if self.trainer.strategy.root_device.type != "cuda":
            raise InputError("model.compile is true, but only a GPU gets faster by it. Set --model.compile false.")
        small = self.trainer.datamodule.loader.batch_size <= SMALL_BATCH  # type: ignore[attr-defined]
        # a CUDA graph would overwrite gradients that are accumulated
        replay = small and self.trainer.accumulate_grad_batches == 1
        self.network.compile(fullgraph=True, dynamic=False, mode="reduce-overhead" if replay else None)

    def configure_optimizers(self) -> Any:  # noqa: ANN401
        """Return the optimizer, and its schedule if there is one."""
        optimizer = self.make_optimizer(self.network.parameters())
        if self.make_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": schedule_of(self.make_scheduler, optimizer, self.trainer)}

    def configure_gradient_clipping(self, optimizer: Optimizer, **clip: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        """Clip gradients. Lightning's bf16-mixed refuses a fused optimizer, although only float16 scales gradients."""
        plugin, value = self.trainer.precision_plugin, clip["gradient_clip_val"]
        if value and getattr(plugin, "scaler", None) is None:
            kind = GradClipAlgorithmType(clip["gradient_clip_algorithm"] or "norm")
            Precision.clip_gradients(plugin, optimizer, value, kind)
        else:
            self.clip_gradients(optimizer, **clip)

    def on_fit_start(self) -> None:
        """Measure the training split, unless the run is resumed and the checkpoint holds the result."""
        if self.training_ef.isfinite():
            return
        found = self.trainer.datamodule.training_statistics()  # type: ignore[attr-defined]
        grey = f"grey values {found.grey_mean:.1f} ± {found.grey_sd:.1f}, mean EF {100 * found.ef_mean:.1f} %"
        rank_zero_info(f"training split: {grey}; {sum(p.numel() for p in self.network.parameters()):,} parameters")
        self.training_ef.fill_(found.ef_mean)
        found = found if self.start is None else self.start.adapt(found)
        self.network.adopt(found)
        if not all(found.borders) and self.network.detector is not None and self.network.detector.borders > 1:
            rank_zero_info("The training split has no traced epicardium: it is neither learned nor written to results.")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the checkpoint of another network."""
        own, theirs = self.state_dict(), checkpoint["state_dict"]
        missing, extra = own.keys() - theirs.keys(), theirs.keys() - own.keys()
        other = [k for k in own.keys() & theirs.keys() if own[k].shape != theirs[k].shape]
        if missing or extra or other:
            counts = f"weights missing {len(missing)}, unknown {len(extra)}, of another shape {len(other)}"
            advice = "Use the configuration of its run: --config runs/<name>/resolved_config.yaml."
            first = min(other or missing or extra)
            file = checkpoint.get("file", "the checkpoint")
            raise InputError(f"{file} is of another network ({counts}; first: {first}). {advice}")

    def step(self, output: E3Output, clip: EchoClip, stage: str) -> Tensor:
        """Return the loss of a batch, and log the loss of the global batch.

        One collective averages sums and numbers of labelled items over the devices. Each device divides its own sums by
        the average number, so the average of all gradients is the gradient of the global mean.
        """
        sums = self.loss(output, clip)
        own = torch.stack([torch.stack(pair).detach() for pair in sums.values()])
        averages = self.trainer.strategy.all_gather(own).reshape(-1, *own.shape).mean(0)
        world = {name: TermSum(*pair.unbind()) for name, pair in zip(sums, averages, strict=True)}
        logged = {f"{stage}/loss/{name}": value for name, value in self.loss.average(world).items()}
        self.log_dict(logged, batch_size=len(clip.ef))
        parts = self.loss.average({name: TermSum(sums[name].total, world[name].number) for name in sums})
        return parts["total"]

    def training_step(self, clip: EchoClip, batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        return self.step(self.network(clip.video, clip.frame_mask), clip, "train")

    def validation_step(self, clip: EchoClip, batch_index: int) -> Mapping[str, Any]:
        """Score a batch of the validation or test split, and return the output of the network."""
        if batch_index == 0:
            self.scores.reset()
        output = self.read(clip.video, clip.frame_mask)
        self.step(output, clip, "test" if self.trainer.testing else "val")
        self.scores.update(output, clip)
        return output._asdict()

    test_step = validation_step

    def on_train_batch_end(self, *_: object) -> None:
        """Note that the statistics of the norms are older than the weights."""
        self.norms_lag = True

    def on_validation_epoch_start(self) -> None:
        """While training, estimate the statistics of the norms with the present weights; prepare for inference."""
        self.update_norms()
        self.prepare_inference()

    def update_norms(self) -> None:
        """Estimate the statistics of the norms from clips of the training split, if the weights have changed."""
        if not self.norms_lag:
            return
        if self.norm_batches is None:
            batches = self.trainer.datamodule.norm_batches()  # type: ignore[attr-defined]
            self.norm_batches = [(video.to(self.device), mask.to(self.device)) for video, mask in batches]
        with self.trainer.precision_plugin.forward_context():
            update_norms(self.network, self.norm_batches)
        self.norms_lag = False

    # after an epoch without validation, before checkpoints are written
    on_train_epoch_end = update_norms

    def prepare_inference(self) -> None:
        """Make the copy of the network that reads clips faster, unless the network is compiled."""
        trains = self.compiles and self.trainer.state.fn == TrainerFn.FITTING
        # a bound method, not a module: the copy is not part of checkpoints
        self.read = (self.network if trains else for_inference(self.network)).__call__

    on_test_epoch_start = on_predict_epoch_start = prepare_inference

    def predict_step(self, clip: EchoClip, batch_index: int) -> Mapping[str, Any]:
        """Return the output of the network."""
        return self.read(clip.video, clip.frame_mask)._asdict()

    def on_validation_epoch_end(self) -> None:
        """Log the scores over the videos of all devices."""
        stage = "test" if self.trainer.testing else "val"
        self.log_dict({f"{stage}/{name}": value for name, value in self.scores.compute().items()}, prog_bar=True)

    on_test_epoch_end = on_validation_epoch_end
