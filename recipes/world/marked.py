"""Photographs whose own subject U2-Net-p marks, to train image-to-segment on beside scenes.

The mask of a scene tells exactly what was pasted, but what was pasted looks so. Here nothing is: U2-Net-p looks at each
whole photograph and at its mirror image, and where it marks the same in both, crops of them are taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from PIL import Image
from tqdm import tqdm

from anyrefill import images
from anyrefill.metrics import iou, subject
from anyrefill.pairs import Photo
from recipes.world import sources
from recipes.world.scenes import random_crop, read_photo

SURE = 0.8
"""IoU of what is marked in a photograph and in its mirror image from which it counts."""
SIZE = (128, 128)


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A photograph and its subject.

    Attributes:
        photo: RGB.
        mask: of the same size, white where the subject is.
        caption: what is to be seen.
    """

    photo: Image.Image
    mask: Image.Image
    caption: str


def marked(source: sources.Source) -> Marked | None:
    """Return a photograph with the subject that U2-Net-p sees in it; None if it sees another in the mirror image.

    Raises:
        UserError: weights or onnxruntime are missing.
    """
    photo = read_photo(source)
    panel = images.fit(photo, (photo.height, photo.width), multiple=1).panel
    found, mirrored = subject(panel), subject(panel.flip(-1)).flip(-1)
    if iou(found - 0.5, mirrored - 0.5) < SURE:
        return None
    return Marked(photo=photo, mask=Image.fromarray(found[0].numpy().astype(np.uint8) * 255), caption=source.caption)


def marked_photos(split: str, seed: int) -> Iterator[Photo]:
    """Yield crops of a split's photographs with the subject in them, every photograph in turn, without end.

    Stages are left out, since image-to-segment is to pass over them when something stands in front.
    """
    found = [one for one in sources.photos(held_out=split == "test") if not one.is_stage]
    bar = tqdm(found, desc=f"U2-Net-p ({split})", unit="photo", mininterval=10)
    chosen = [one for one in map(marked, bar) if one is not None]
    if not chosen:
        raise ValueError(f"U2-Net-p is sure of no photograph of {split}")
    for index in count():
        one = chosen[index % len(chosen)]
        crop, mask = (
            random_crop(image, np.random.default_rng([seed, index]), SIZE[0]) for image in (one.photo, one.mask)
        )
        yield Photo(
            pixels=images.to_panel(crop, SIZE),
            foreground=(images.to_panel(mask.convert("RGB"), SIZE)[:1] > 0).float(),
            caption=one.caption,
        )
