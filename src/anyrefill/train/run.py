"""A training run from its first step, or the one it was stopped at, to its adapter."""

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from filelock import BaseFileLock, FileLock, Timeout

from anyrefill import images, tasks
from anyrefill.backbone.embedded import find_base
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.precision import present_device
from anyrefill.errors import UserError
from anyrefill.tasks import Task
from anyrefill.train.buckets import Bucket
from anyrefill.train.checkpoint import Checkpoint, State
from anyrefill.train.config import TrainConfig
from anyrefill.train.data import Batch, Cache, default_steps, draw, split, steps_of
from anyrefill.train.encode import Cached, Encoder, encode
from anyrefill.train.learner import Learned, Learner, rate
from anyrefill.train.log import Entry, Log, write_report
from anyrefill.train.loss import Predictor, channel_weights
from anyrefill.train.masters import Masters
from anyrefill.train.parallel import World, join
from anyrefill.train.passport import passport_of
from anyrefill.train.records import Note, Step
from anyrefill.train.store import Store
from anyrefill.train.trained import Trained, check_beginning, make_trained, steps_before, take_on
from anyrefill.train.validate import sample_sheet, shared_pictures, validation_loss

__all__ = ["training"]


def training(config: TrainConfig) -> Generator[Cached | Note | Step, None, None]:
    """Yield while pictures and prompts are encoded, then after every step.

    Every random number of a step comes from the seed and the step's number, so a run that was killed and taken up
    again ends with the same weights, bit for bit, on the CPU. Closing the generator between two steps saves the run.

    Raises:
        UserError: the task, pairs, backbone or settings are wrong, `out` holds another run, or the loss is not finite.
    """
    config.check()
    present_device(config.device)
    run = yield from _prepare(config)
    taken = False
    try:
        yield from run.resume()
        if run.learner.step >= run.steps:
            run.hand_out()
            yield Note(text=f"The run in {config.out} is finished: {run.adapter} is there.")
        while run.learner.step < run.steps:
            step, taken = run.take_step(), True
            yield step
    except GeneratorExit:
        if taken:
            run.save()
        raise
    finally:
        run.leave()


@dataclass(frozen=True, kw_only=True)
class _Run:
    """The parts of a run.

    Attributes:
        config: what was asked for.
        task: what is learnt.
        backbone: the base with its adapter.
        trained: the adapter.
        caches: the pairs to train on, one for each canvas size.
        held_out: the pairs to look at.
        looks: their caches.
        learner: the weights.
        checkpoint: where they are saved.
        world: the processes that train together.
        steps: of the whole run.
        log: of the steps; the first process keeps it.
        lock: of the run's folder, held as long as the first process trains.
    """

    config: TrainConfig
    task: Task
    backbone: FluxFill
    trained: Trained
    caches: Sequence[Cache]
    held_out: Sequence[Bucket]
    looks: Sequence[Cache]
    learner: Learner
    checkpoint: Checkpoint
    world: World
    steps: int
    log: Log | None
    lock: BaseFileLock | None

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
        known = None if state is None else state.steps_before
        self.learner.steps_before = steps_before(self.config) if known is None else known
        yield from (Note(text=note) for note in (self._begin() if state is None else self._restore(state)))
        if self.log is not None:
            self.log.begin(self.learner.step)

    def _begin(self) -> Iterator[str]:
        """Begin, with the weights of another adapter where that was asked for, and say what is to be said about it."""
        if self.config.start_from is not None:
            values, said = take_on(self.config, self.config.start_from, self.trained, self.backbone)
            self.learner.begin(values)
            yield said
        if shared := shared_pictures(self.caches, self.looks):
            yield (
                f"{shared} of {sum(map(len, self.looks))} held-out pairs share a picture with pairs that are trained "
                "on: their loss tells little about new pictures."
            )

    def _restore(self, state: State) -> Iterator[str]:
        """Go on from a checkpoint, and say what is to be said about it."""
        self.learner.restore(state)
        if state.processes != self.world.size:
            yield (
                f"The run was saved by {state.processes} processes and goes on with {self.world.size}: the weights "
                "will be the same but for rounding, not bit for bit."
            )

    def take_step(self) -> Step:
        """Take one step and do all that is due after it."""
        began, config, learner = perf_counter(), self.config, self.learner
        batch = draw(self.caches, config, learner.step)
        learned = learner.gradients(batch)
        if not learned.is_finite:
            self._stop(batch, learned)
        learner.apply()
        seconds = perf_counter() - began
        is_last = learner.step == self.steps
        validation = self._validate() if is_last or learner.step % config.validate_every == 0 else None
        self._record(learned, seconds, validation)
        if is_last or learner.step % config.save_every == 0:
            self.save()
        if is_last:
            self.hand_out()
        return Step(
            step=learner.step,
            steps=self.steps,
            loss=learned.loss,
            seconds=seconds,
            adapter=self.adapter if is_last else None,
            validation=validation,
        )

    def hand_out(self) -> None:
        """Write the adapter of a finished run, as the settings ask for it now."""
        if self.is_first:
            self._save_adapter(self.adapter)

    def save(self) -> None:
        """Write a checkpoint."""
        if self.is_first:
            self.checkpoint.save(self.learner.state())

    def leave(self) -> None:
        """Close what is open."""
        if self.log is not None:
            self.log.finish()
        if self.lock is not None:
            self.lock.release()
        self.world.leave()

    def _validate(self) -> float | None:
        """Look at the held-out pairs; the best adapter so far is kept."""
        if not self.held_out or not (self.is_first or self.world.sharded):
            return None
        learner, config = self.learner, self.config
        with learner.masters.shown():
            loss = validation_loss(self.looks, config, learner.predict, learner.channels)
            if config.samples > 0:
                path = config.out / "samples" / f"{learner.step:07}.png"
                pairs = self.held_out[0].pairs
                sheet = sample_sheet(pairs, self.looks[0], self.task, self.backbone, config, learner.predict)
                if self.is_first:
                    images.save(sheet, path)
        if loss < learner.best and self.is_first:
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
        passport = passport_of(self.config, self.task, self.backbone, self.trained, self.caches, self.learner)
        with self.learner.masters.shown(whole=True):
            self.trained.save(path, passport)

    def _stop(self, batch: Batch, learned: Learned) -> None:
        """Stop before a damaged step reaches the weights, and write down what it was made of.

        Raises:
            UserError: always.
        """
        step, masters = self.learner.step + 1, self.learner.masters
        report = self.config.out / "not-finite.json"
        tensors = dict(zip(self.trained.tensors, masters.values, strict=True))
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
    check_beginning(config)
    dtype: torch.dtype = getattr(torch, config.dtype)
    base = find_base(config.backbone)
    backbone = FluxFill.load(base, device=world.device, dtype=dtype, parts=(), quantize=config.quantize)
    _check_sharded(config, world)
    buckets, held_out = split(config, backbone.settings.panel)
    caches = yield from encode([*buckets, *held_out], Encoder(task, backbone), Store(config.cache), world)
    samples = len(held_out) > 0 and config.samples > 0
    backbone.bring("transformer")
    if samples or config.weighing == "reach":
        backbone.bring("vae")
    trained = make_trained(config, task, backbone)
    content = _content(backbone, caches)
    world.shard(backbone.transformer)
    few = torch.stack([caches[0].store[key]["clean"] for key in caches[0].pictures[:4]])
    channels = channel_weights(config.weighing, backbone, few, caches[0].height, caches[0].width)
    if not samples:
        backbone.free("vae")
    predict = Predictor(backbone, config, trained)
    default = default_steps(task, backbone.transformer.config)
    steps = steps_of(config, [len(bucket.pairs) for bucket in buckets], default)
    masters = Masters(list(trained.tensors.values()), trained.dtype, config.ema)
    return _Run(
        config=config,
        task=task,
        backbone=backbone,
        trained=trained,
        caches=caches[: len(buckets)],
        held_out=held_out,
        looks=caches[len(buckets) :],
        learner=Learner(config, masters, predict, world, steps, channels),
        checkpoint=Checkpoint(config, " ".join(cache.manifest for cache in caches), content),
        world=world,
        steps=steps,
        lock=_locked(config.out) if world.rank == 0 else None,
        log=Log(config) if world.rank == 0 else None,
    )


def _locked(out: Path) -> BaseFileLock:
    """Keep other processes from training into the same folder; the system lets go of it when this one ends.

    Raises:
        UserError: another one trains there, or the folder cannot be written.
    """
    lock = FileLock(out / ".lock")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise UserError(f"Another process is training into {out}.") from error
    except FileExistsError as error:
        raise UserError(f"Cannot train into {out}: it is no folder.") from error
    except OSError as error:
        raise UserError(f"Cannot train into {out}: {error.strerror or error}.") from error
    return lock


def _content(backbone: FluxFill, caches: Sequence[Cache]) -> str:
    """Return a digest of what is learnt with: the base's weights, every prompt and every mask."""
    return hashlib.sha256(" ".join([backbone.fingerprint(), *(one.content for one in caches)]).encode()).hexdigest()


def _check_sharded(config: TrainConfig, world: World) -> None:
    """Refuse what does not go together with a base that is split over the processes."""
    if world.sharded and (config.attention != "full" or config.quantize is not None or config.compile):
        raise UserError("A base split over processes (FSDP) needs --attention full, no --quantize and no --compile.")
