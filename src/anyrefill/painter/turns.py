"""Several tasks of one picture in turn: each paints what the one before it made, with its own adapter alone.

The paper lets all adapters act at once (arXiv 2502.11158, figure 10). Each of them was trained on its own, and what two
add to a layer overlaps; in turn none meets another. docs/tasks/mixing.md compares both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from anyrefill.painter.records import Request, Stage
from anyrefill.pairs import Pair

if TYPE_CHECKING:
    from anyrefill.painter.painter import Painter

__all__ = ["fulfilling_in_turn", "own_words", "painting_in_turn"]


def own_words(caption: str, place: int, count: int) -> str:
    """Return what a caption tells the task at a place among so many: its part between semicolons, or else all of it."""
    said = caption.split(";")
    return said[place].strip() if len(said) == count else caption


def painting_in_turn(
    turns: Sequence["Painter"], pairs: Sequence[Pair], *, seed: int, batch_size: int, total: int
) -> Iterator[Stage]:
    """Yield after every step; what the last one finishes is handed out.

    Args:
        turns: who paints, one after the other.
        pairs: whose references the first one gets.
        seed: of the first pair's noise, for each of them.
        batch_size: as ``Painter.batch`` takes it.
        total: steps of all turns.
    """
    done, painted = 0, [pair.reference for pair in pairs]
    for place, turn in enumerate(turns):
        given = [
            replace(pair, reference=panel, caption=own_words(pair.caption, place, len(turns)))
            for pair, panel in zip(pairs, painted, strict=True)
        ]
        painted = []
        for stage in turn.painting(given, seed=seed, batch_size=batch_size):
            done += 1
            painted += stage.panels
            last = stage if turn is turns[-1] else Stage(done=done, total=total)
            yield replace(last, done=done, total=total)


def fulfilling_in_turn(
    turns: Sequence["Painter"], request: Request, *, seeds: Sequence[int], repair_colour: bool, total: int
) -> Iterator[Stage]:
    """Yield after every step, with the painting of a seed once it went through all turns.

    Args:
        turns: who paints, one after the other.
        request: whose reference the first one gets.
        seeds: of the noise, the same for each of them.
        repair_colour: whether the last one's colours are repaired where that helps.
        total: steps of all turns for all seeds.
    """
    done = 0
    for seed in seeds:
        given = request
        for place, turn in enumerate(turns):
            last = turn is turns[-1]
            words = own_words(request.pair.caption, place, len(turns))
            given = replace(given, pair=replace(given.pair, caption=words))
            for stage in turn.fulfilling(given, seed=seed, repair_colour=repair_colour and last):
                done += 1
                if stage.panels and not last:
                    given = given.onto(stage.panels[0])
                yield replace(stage, done=done, total=total, panels=stage.panels if last else ())
