"""The painter of one task."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Unpack, final

from PIL import Image

from anyrefill import images
from anyrefill.backbone import Attention, Backbone
from anyrefill.backbone.adapters.lora import Cast, Merged
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.canvas import Canvas, pasted
from anyrefill.errors import UserError
from anyrefill.flow import Solver
from anyrefill.images import ImageLike
from anyrefill.metrics.lpips import find_weights
from anyrefill.painter.asking import ask, ask_in_box
from anyrefill.painter.box import BoxLike
from anyrefill.painter.fitting import OutSize, Way
from anyrefill.painter.records import Asked, Request, Sampler, Stage
from anyrefill.painter.running import running
from anyrefill.painter.turns import fulfilling_in_turn, own_words, painting_in_turn
from anyrefill.painter.witness import Witness, WitnessScore
from anyrefill.pairs import Pair, means, mirrored
from anyrefill.sample import sheets
from anyrefill.tasks import Finish, Task, as_painted
from anyrefill.types import Panel, Size

__all__ = ["STEPS", "Painter"]

STEPS = 20
"""What a painter takes where neither a call nor the adapter says otherwise."""


@final
@dataclass(frozen=True, kw_only=True)
class Painter:
    """Paints the right panel of one task; ``load`` makes one.

    Attributes:
        backbone: the fill model, its adapter in place.
        task: what to paint.
        size: (height, width) of the panel that the model was trained on.
        guidance: distilled guidance strength, unless a call says otherwise.
        steps: of the solver, unless a call says otherwise.
        solver: how the steps are taken.
        attention: who attends to whom; what the adapter was trained with.
        temperature: what the noise is multiplied by, unless a call says otherwise; 0 paints the same for every seed.
        reference_guidance: how much more than in training the reference counts, unless a call says otherwise.
        caption_guidance: how much more than in training the prompt counts, unless a call says otherwise.
        passport: of the adapter; None for the bare backbone.
        witness: whether the repainted reference ranks this adapter's paintings; None where nobody measured it.
        squares_only: whether the base never saw panels that are not square.
        mirrored: whether the mirror image is painted, too, and the mean handed out: where nothing is left to chance, at
            temperature 0, since the mean of two guesses is no guess; tiles are not.
        raw: whether paintings are handed out as they are, without the task's finish.
        merged: its way out of the backbone's weights; None for the bare backbone, beside a prompt, and where weights
            are smaller, wait elsewhere or are compiled.
        cast: which of the backbone's adapters act while this paints, where others do while others paint.
        turns: who paints instead, each on what the one before it made; without them all adapters act at once.
        notes: sentences to tell the user once.
    """

    backbone: Backbone
    task: Task
    size: Size = (512, 512)
    guidance: float = 30.0
    steps: int = STEPS
    solver: Solver = "euler"
    attention: Attention = "full"
    temperature: float = 1.0
    reference_guidance: float = 1.0
    caption_guidance: float = 1.0
    passport: Passport | None = None
    witness: Witness | None = None
    squares_only: bool = False
    mirrored: bool = False
    raw: bool = False
    merged: Merged | None = None
    cast: Cast | None = None
    turns: tuple["Painter", ...] = ()
    notes: tuple[str, ...] = ()

    def __call__(
        self,
        reference: ImageLike,
        target: ImageLike | None = None,
        *,
        more: Sequence[ImageLike] = (),
        mask: ImageLike | None = None,
        box: BoxLike | None = None,
        caption: str = "",
        size: OutSize = "keep",
        way: Way = "stretch",
        seed: int = 0,
        best_of: int = 1,
        repair_colour: bool = False,
        **asked: Unpack[Asked],
    ) -> Image.Image:
        """Return the painted right panel.

        Args:
            reference: the left panel.
            target: the right panel; only needed where the task keeps a part of it.
            more: further references, which stand beyond the first.
            mask: white where the target is to be painted; as large as the target.
            box: the part of the reference that is painted, as if it were all, and comes out in it: (left, top, right,
                bottom) in pixels, or "face" for head and shoulders of the largest face, which takes dlib.
            caption: the words that fill the task's prompt template.
            size: whether the painting is as large as the target (the reference, where there is no target), or as the
                painter's panel.
            way: how a picture of another size than the panel's is painted.
            seed: of the noise; of the first, where several are painted.
            best_of: how many are painted; the one whose reference was repainted best is kept.
            repair_colour: whether colours are moved towards kept pixels around the hole, where that lowers the error of
                others.
            asked: steps, guidance, temperature, reference_guidance, caption_guidance and mirrored, see ``Asked``.

        Raises:
            UserError: a picture cannot be read or does not fit the task, there is no such box or no box can be painted,
                there are fewer than 1 steps, or nothing is known to tell good paintings of this adapter from bad ones.
        """
        request = self.prepare(reference, target, more=more, mask=mask, box=box, caption=caption, size=size, way=way)
        *_, last = self.fulfilling(request, seed=seed, best_of=best_of, repair_colour=repair_colour, **asked)
        return images.to_pil(last.panels[0])

    def prepare(
        self,
        reference: ImageLike,
        target: ImageLike | None = None,
        *,
        more: Sequence[ImageLike] = (),
        mask: ImageLike | None = None,
        box: BoxLike | None = None,
        caption: str = "",
        size: OutSize = "keep",
        way: Way = "stretch",
    ) -> Request:
        """Read and fit the pictures of one painting, and refuse what cannot be painted.

        Arguments and errors are those of a call.
        """
        if box is None:
            request = ask(self.task, self.size, (reference, *more), target, mask, caption, size, way)
        elif target is None and mask is None and not more:
            request = ask_in_box(self.task, self.size, reference, box, caption, size, way)
        else:
            raise UserError("A box is painted of one reference: leave target, mask and further references out.")
        for place, turn in enumerate(self.turns):
            turn.task.fill_prompt(own_words(caption, place, len(self.turns)))
        height, width = request.frame.painted
        new = way == "bucket" and self.squares_only and height != width
        notes = (f"The base never saw panels that are not square, such as {width} x {height} px.",) if new else ()
        given, trained = len(request.pair.references), self.passport.references if self.passport else 1
        if given != trained:
            notes += (f"What paints was trained with {_references(trained)}, not with {given}: expect worse pictures.",)
        return replace(request, notes=(*self.notes, *notes, *request.notes))

    def fulfilling(
        self,
        request: Request,
        *,
        seed: int = 0,
        best_of: int = 1,
        variants: int = 1,
        repair_colour: bool = False,
        **asked: Unpack[Asked],
    ) -> Iterator[Stage]:
        """Yield after every step, at last with the painting in the size that was asked for.

        Of several variants each step hands out those that it finishes. Arguments and errors are those of a call.

        Args:
            request: from ``prepare``.
            seed: as of a call.
            best_of: as of a call.
            variants: how many are painted, of seeds one after the other, and all handed out.
            repair_colour: as of a call.
            asked: as of a call.
        """
        painter, around = self._as(asked), request.around
        if best_of != 1 or variants != 1:
            painter._check_several(best_of, variants, request)
        best_by = painter._best_by() if best_of != 1 else None
        seeds, inside = range(seed, seed + max(best_of, variants)), replace(request, around=None)
        if painter.turns:
            total = len(seeds) * painter.calls(1)
            run = fulfilling_in_turn(painter.turns, inside, seeds=seeds, repair_colour=repair_colour, total=total)
        else:
            run = painter._running(inside, seeds, best_by, repair=repair_colour)
        return run if around is None else (replace(stage, panels=tuple(map(around, stage.panels))) for stage in run)

    def _running(
        self, request: Request, seeds: Sequence[int], best_by: WitnessScore | None, *, repair: bool
    ) -> Iterator[Stage]:
        """Yield after every step of one painting, or of several from one request."""
        averages, notes = self._averages(in_tiles=request.frame.tile is not None)
        canvases, prompts = self._views([request.pair], averages=averages)
        self._act()
        for stage in running(
            self.backbone, request, canvases, prompts, self._sampler, seeds=seeds, best_by=best_by, repair=repair,
            finish=self.finish,
        ):  # fmt: skip
            yield replace(stage, notes=(*stage.notes, *notes)) if stage.panels else stage

    def _act(self) -> None:
        """Let the adapters of this painter act, where others may have acted before."""
        if self.cast is not None:
            self.cast.act()

    def _as(self, asked: Asked) -> "Painter":
        """Return this painter, and all whose turn comes in it, with what a call says in place of their own settings."""
        said = {name: value for name, value in asked.items() if value is not None}
        return replace(self, turns=tuple(replace(turn, raw=self.raw, **said) for turn in self.turns), **said)

    @property
    def averages(self) -> bool:
        """Whether mirror images are painted, unless a call says otherwise."""
        return self._averages()[0]

    def _averages(self, *, in_tiles: bool = False) -> tuple[bool, tuple[str, ...]]:
        """Return whether mirror images are painted, and a sentence that says why not where they were asked for."""
        if self.mirrored and self.temperature != 0:
            return False, ("Mirror images are averaged only where the painting begins without noise (temperature 0).",)
        if self.mirrored and in_tiles:
            return False, ("Mirror images are not averaged in tiles.",)
        return self.mirrored, ()

    def _views(self, pairs: Sequence[Pair], *, averages: bool) -> tuple[list[Canvas], list[str]]:
        """Return canvases and prompts of some pairs, and behind them of their mirror images where means are wanted."""
        views = [*pairs, *map(mirrored, pairs)] if averages else pairs
        canvases = [Canvas.stitch(view.references, view.target, self.task.mask(view)) for view in views]
        return canvases, [self.task.fill_prompt(view.caption) for view in views]

    @property
    def finish(self) -> Finish:
        """What is done to a painting before it is handed out."""
        return as_painted if self.raw else self.task.finish

    def batch(
        self,
        pairs: Sequence[Pair],
        *,
        seed: int = 0,
        batch_size: int = 8,
        **asked: Unpack[Asked],
    ) -> list[Panel]:
        """Return the painted panels of many pairs; ``painting`` tells of the progress too.

        Args:
            pairs: as a folder of pairs gives them; what their targets show below the mask is not looked at.
            seed: of the first pair's noise; the next pair's is one more, and so on.
            batch_size: pairs that go through the backbone together, with their mirror images where means are wanted.
            asked: as of a call.

        Raises:
            UserError: a pair does not fit the task, or there are fewer than 1 steps.
        """
        run = self.painting(pairs, seed=seed, batch_size=batch_size, **asked)
        return [panel for stage in run for panel in stage.panels]

    def painting(
        self,
        pairs: Sequence[Pair],
        *,
        seed: int = 0,
        batch_size: int = 8,
        **asked: Unpack[Asked],
    ) -> Iterator[Stage]:
        """Yield after every step of a batch: the caller draws a progress bar, or stops asking.

        Arguments and errors are those of ``batch``.
        """
        painter = self._as(asked)
        total = painter.calls(len(pairs), batch_size=batch_size)
        if painter.turns:
            yield from painting_in_turn(painter.turns, pairs, seed=seed, batch_size=batch_size, total=total)
            return
        self._act()
        done = 0
        for first in range(0, len(pairs), batch_size):
            batch = pairs[first : first + batch_size]
            canvases, prompts = painter._views(batch, averages=painter.averages)
            seeds = list(range(seed + first, seed + first + len(batch))) * (len(canvases) // len(batch))
            for step in painter._sampler.sampling(self.backbone, canvases, prompts, seeds):
                done += 1
                if step.done < step.steps:
                    yield Stage(done=done, total=total)
                    continue
                decoded = sheets(self.backbone, canvases, step.latents)
                raw = means([canvas.panel(sheet) for canvas, sheet in zip(canvases, decoded, strict=True)], len(batch))
                handed = [self.finish(pair.reference, panel) for pair, panel in zip(batch, raw, strict=True)]
                yield Stage(done=done, total=total, panels=self._pasted(handed, batch), raw=self._pasted(raw, batch))

    def _pasted(self, painted: Sequence[Panel], pairs: Sequence[Pair]) -> tuple[Panel, ...]:
        """Return painted panels with what their pairs' targets keep, bit for bit."""
        both = zip(painted, pairs, strict=True)
        return tuple(pasted(panel, pair.target, self.task.mask(pair)) for panel, pair in both)

    def calls(self, count: int, *, steps: int | None = None, batch_size: int = 8) -> int:
        """Return how many steps ``painting`` takes for that many pairs, each with a whole batch at once."""
        if self.turns:
            return sum(turn.calls(count, steps=steps, batch_size=batch_size) for turn in self.turns)
        return -(-count // batch_size) * (self.steps if steps is None else steps)

    def _check_several(self, best_of: int, variants: int, request: Request) -> None:
        """Refuse several paintings where there cannot be several."""
        if best_of < 1 or variants < 1:
            raise UserError(f"At least 1 picture is painted, not {min(best_of, variants)}.")
        if best_of > 1 and variants > 1:
            raise UserError("Either the best of several paintings is kept, or all variants.")
        if request.frame.tile is not None:
            raise UserError("Several are painted of whole pictures only, not of tiles.")
        if all(one.temperature == 0 for one in self.turns or (self,)):
            raise UserError("At temperature 0 all paintings are the same, so there are no several.")

    def _best_by(self) -> WitnessScore:
        """Return which score tells the best of several; refuse a choice that would be made by chance."""
        if self.attention != "full":
            raise UserError(
                f"With {self.attention} attention the reference is not repainted, so nothing tells the best of several."
            )
        if self.witness is None:
            raise UserError(
                f"Nobody measured whether the repainted reference tells good paintings of {self.task.name} by this "
                "adapter from bad ones: python -m benchmarks.witness --publish does."
            )
        if not self.witness.ranks:
            raise UserError(
                f"The repainted reference does not tell good paintings of {self.task.name} from bad ones (rank "
                f"correlation {self.witness}), so the best of several would be chosen by chance."
            )
        if self.witness.score == "lpips":
            find_weights("alex")
        return self.witness.score

    @property
    def _sampler(self) -> Sampler:
        """The settings of every sampling run."""
        return Sampler(
            steps=self.steps,
            guidance=self.guidance,
            solver=self.solver,
            attention=self.attention,
            temperature=self.temperature,
            reference_guidance=self.reference_guidance,
            caption_guidance=self.caption_guidance,
        )


def _references(count: int) -> str:
    """Name a number of references."""
    return "1 reference" if count == 1 else f"{count} references"
