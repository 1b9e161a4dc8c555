"""A training run from its first step, or the one it was stopped at, to its adapter."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import torch

from anyrefill import tasks
from anyrefill.backbone.adapters.files import save_adapter
from anyrefill.backbone.adapters.lora import add_lora
from anyrefill.backbone.embedded import find_base
from anyrefill.backbone.fill import FluxFill
from anyrefill.errors import UserError
from anyrefill.pairs import PairFolder
from anyrefill.tasks import Task
from anyrefill.train.checkpoint import Checkpoint
from anyrefill.train.config import TrainConfig
from anyrefill.train.data import Batch, Cache, draw, split, steps_of
from anyrefill.train.encode import Cached, Encoder, encode
from anyrefill.train.learner import Learned, Learner, rate
from anyrefill.train.log import Entry, Log, write_report
from anyrefill.train.loss import Predictor
from anyrefill.train.masters import Masters
from anyrefill.train.parallel import World, join
from anyrefill.train.passport import passport_of
from anyrefill.train.store import Store
from anyrefill.train.validate import paint_sheet, validation_loss

__all__ = ["Note", "Step", "training"]


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something to tell the user once.

    Attributes:
        text: one sentence.
    """

    text: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a training run stands.

    Attributes:
        step: optimizer steps done, all sessions together.
        steps: of the whole run.
        loss: of this step's batch.
        seconds: that this step took.
        adapter: the finished file, at the last step.
        validation: loss on the held-out pairs, where they were looked at after this step.
    """

    step: int
    steps: int
    loss: float
    seconds: float
    adapter: Path | None = None
    validation: float | None = None


def training(config: TrainConfig) -> Generator[Cached | Note | Step, None, None]:
    """Yield while pictures and prompts are encoded, then after every step.

    Every random number of a step comes from the seed and the step's number, so a run that was killed and taken up
    again ends with the same weights, bit for bit, on the CPU. Closing the generator between two steps saves the run.

    Raises:
        UserError: the task, pairs, backbone or settings are wrong, `out` holds another run, or the loss is not finite.
    """
    config.check()
    run = yield from _prepare(config)
    yield from run.resume()
    if run.learner.step >= run.steps:
        yield Note(text=f"The run in {config.out} is finished: {run.adapter} is there.")
    try:
        while run.learner.step < run.steps:
            yield run.take_step()
    except GeneratorExit:
        run.save()
        raise
    finally:
        run.world.leave()


@dataclass(frozen=True, kw_only=True)
class _Run:
    """The parts of a run.

    Attributes:
        config: what was asked for.
        task: what is learnt.
        backbone: the base with its adapter.
        cache: the pairs to train on.
        held_out: the pairs to look at, and their cache.
        learner: the weights.
        checkpoint: where they are saved.
        world: the processes that train together.
        steps: of the whole run.
        log: of the steps; the first process keeps it.
    """

    config: TrainConfig
    task: Task
    backbone: FluxFill
    cache: Cache
    held_out: tuple[PairFolder, Cache] | None
    learner: Learner
    checkpoint: Checkpoint
    world: World
    steps: int
    log: Log | None

    @property
    def adapter(self) -> Path:
        """Where the adapter goes."""
        return self.config.out / "adapter.safetensors"

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.world.rank == 0

    def resume(self) -> Iterator[Note]:
        """Take up the newest checkpoint, if there is one, and say what is to be said about it."""
        state, notes = self.checkpoint.load()
        yield from (Note(text=note) for note in notes)
        if state is not None:
            self.learner.restore(state)
            if state.processes != self.world.size:
                yield Note(
                    text=f"The run was saved by {state.processes} processes and goes on with {self.world.size}: "
                    "the weights will be the same but for rounding, not bit for bit."
                )
        if self.log is not None:
            self.log.begin(self.learner.step)

    def take_step(self) -> Step:
        """Take one step and do all that is due after it."""
        began, config, learner = perf_counter(), self.config, self.learner
        batch = draw(self.cache, config, learner.step)
        learned = learner.gradients(batch)
        if not learned.is_finite:
            self._stop(batch, learned)
        learner.apply()
        seconds = perf_counter() - began
        is_last = learner.step == self.steps
        validation = self._validate() if is_last or learner.step % config.validate_every == 0 else None
        self._record(learned, seconds, validation)
        if is_last and self.is_first:
            self._save_adapter(self.adapter)
        if is_last or learner.step % config.save_every == 0:
            self.save()
        return Step(
            step=learner.step,
            steps=self.steps,
            loss=learned.loss,
            seconds=seconds,
            adapter=self.adapter if is_last else None,
            validation=validation,
        )

    def save(self) -> None:
        """Write a checkpoint."""
        if self.is_first:
            self.checkpoint.save(self.learner.state())

    def _validate(self) -> float | None:
        """Look at the held-out pairs; the best adapter so far is kept."""
        if self.held_out is None or not self.is_first:
            return None
        pairs, cache = self.held_out
        learner, config = self.learner, self.config
        with learner.masters.shown():
            loss = validation_loss(cache, config, learner.predict)
            if config.samples > 0:
                path = config.out / "samples" / f"{learner.step:07}.png"
                paint_sheet(path, pairs, cache, self.task, self.backbone, config, learner.predict)
        if loss < learner.best:
            learner.best = loss
            self._save_adapter(config.out / "best.safetensors")
        return loss

    def _record(self, learned: Learned, seconds: float, validation: float | None) -> None:
        """Write the log, and its curve now and then."""
        learner, config = self.learner, self.config
        if self.log is None:
            return
        entry = Entry(
            step=learner.step,
            loss=learned.loss,
            norm=learned.norm,
            rate=config.lr * rate(learner.step - 1, self.steps, config.warmup),
            seconds=round(seconds, 4),
            validation=validation,
        )
        self.log.add(entry)
        if validation is not None or learner.step == self.steps or learner.step % config.save_every == 0:
            self.log.draw()

    def _save_adapter(self, path: Path) -> None:
        """Write the adapter as it is now."""
        done = replace(self.config, steps=self.learner.step)
        with self.learner.masters.shown(whole=True):
            save_adapter(path, self.backbone, passport_of(done, self.task, self.backbone, self.cache))

    def _stop(self, batch: Batch, learned: Learned) -> None:
        """Stop before a damaged step reaches the weights, and write down what it was made of.

        Raises:
            UserError: always.
        """
        step, masters = self.learner.step + 1, self.learner.masters
        report = self.config.out / "not-finite.json"
        names = [name for name, weight in self.backbone.transformer.named_parameters() if weight.requires_grad]
        tensors = {name: value for name, value in zip(names, masters.values, strict=True)}
        gradients = {f"{name} gradient": value.grad for name, value in tensors.items() if value.grad is not None}
        if self.is_first:
            write_report(report, step, self.config.seed, batch, learned.loss, [*tensors.items(), *gradients.items()])
        what = f"loss is {learned.loss}" if learned.loss - learned.loss != 0 else f"gradients' norm is {learned.norm}"
        raise UserError(
            f"The {what} at step {step}; nothing was saved after the last checkpoint, and {report} says what the "
            "step was made of. Try a lower --lr."
        )


def _prepare(config: TrainConfig) -> Generator[Cached, None, _Run]:
    """Load, encode, and put everything in its place."""
    task, world = tasks.get(config.task), join(config.device, config.batch // config.draws)
    backbone = FluxFill.load(find_base(config.backbone), device=world.device, dtype=getattr(torch, config.dtype))
    pairs, held_out = split(config, backbone.settings.panel)
    folders = [pairs] if held_out is None else [pairs, held_out]
    caches = yield from encode(folders, Encoder(task, backbone), Store(config.cache), world)
    backbone.free("text_encoder")
    if held_out is None or config.samples == 0:
        backbone.free("vae")
    parameters = add_lora(
        backbone, rank=config.rank, alpha=config.alpha, targets=config.targets, seed=config.seed, name="default"
    )
    predict = Predictor(backbone, caches[0].img_ids, config)
    steps = steps_of(config, len(pairs))
    masters = Masters(parameters, backbone.dtype, config.ema)
    return _Run(
        config=config,
        task=task,
        backbone=backbone,
        cache=caches[0],
        held_out=None if held_out is None else (held_out, caches[1]),
        learner=Learner(config, masters, predict, world, steps),
        checkpoint=Checkpoint(config, " ".join(cache.manifest for cache in caches)),
        world=world,
        steps=steps,
        log=Log(config.out, tensorboard=config.tensorboard) if world.rank == 0 else None,
    )
