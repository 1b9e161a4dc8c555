"""Foreground by Grounded SAM: GroundingDINO finds boxes for words, SAM 2 cuts out what is in them.

Source: Liu et al. 2023 (arXiv 2303.05499); Ravi et al. 2024 (arXiv 2408.00714); thresholds as in
IDEA-Research/Grounded-SAM-2. SAM 2's own processor needs torchvision, so its preparation is done here: the square
side of its configuration, bilinear, ImageNet's mean and deviation.
"""

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from anyrefill import images
from anyrefill.curate.annotators.hub import pretrained
from anyrefill.pairs import Photo
from anyrefill.types import Mask, Panel

__all__ = ["GroundedSam"]

BOX, TEXT = 0.35, 0.25
"""Scores that a box, and a word for it, must have."""

SUBJECT = "the main subject"
"""What to look for in a photograph without a caption."""

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


@final
class GroundedSam:
    """Finds what a photograph's caption speaks of; several boxes give the union of their masks, no box an empty one.

    Args:
        detector: hub id or folder, e.g. IDEA-Research/grounding-dino-base.
        segmenter: hub id or folder, e.g. facebook/sam2.1-hiera-large.
        device: of torch.
        box: score that a box must have.
        download: whether the hub may be asked.

    Raises:
        UserError: a model is not on this machine, or is none of the kind.
    """

    def __init__(
        self, detector: str, segmenter: str, device: str = "cpu", *, box: float = BOX, download: bool = False
    ) -> None:
        from transformers import AutoImageProcessor, AutoModelForZeroShotObjectDetection, AutoTokenizer, Sam2Model
        from transformers.models.grounding_dino import GroundingDinoProcessor

        self.name = f"{detector}+{segmenter}"
        self._device = device
        self._box = box
        self._words: Any = GroundingDinoProcessor(
            pretrained(AutoImageProcessor, detector, download=download, backend="pil"),
            pretrained(AutoTokenizer, detector, download=download),
        )
        self._detector = pretrained(AutoModelForZeroShotObjectDetection, detector, download=download)
        self._segmenter = pretrained(Sam2Model, segmenter, download=download)
        self._detector.to(device).eval()
        self._segmenter.to(device).eval()

    @torch.inference_mode()
    def __call__(self, photos: Sequence[Photo]) -> list[Mask]:
        """Return 1 on the subject of each photograph; boxes in one batch, masks one photograph at a time."""
        boxes = self._detect(photos)
        return [self._segment(photo.pixels, found) for photo, found in zip(photos, boxes, strict=True)]

    def _detect(self, photos: Sequence[Photo]) -> list[Float[Tensor, "boxes 4"]]:
        """Return the boxes (left, top, right, bottom) in pixels that fit each photograph's words."""
        words = [f"{(photo.caption.strip() or SUBJECT).lower().rstrip('.')}." for photo in photos]
        pictures = [images.to_pil(photo.pixels) for photo in photos]
        inputs = self._words(images=pictures, text=words, padding=True, return_tensors="pt").to(self._device)
        found = self._words.post_process_grounded_object_detection(
            self._detector(**inputs),
            inputs["input_ids"],
            threshold=self._box,
            text_threshold=TEXT,
            target_sizes=[(picture.height, picture.width) for picture in pictures],
        )
        return [one["boxes"].float().cpu() for one in found]

    def _segment(self, panel: Panel, boxes: Float[Tensor, "boxes 4"]) -> Mask:
        """Return the union of the masks in the boxes."""
        height, width = panel.shape[1:]
        if not len(boxes):
            return torch.zeros(1, height, width)
        side: int = self._segmenter.config.vision_config.image_size
        unit = interpolate((panel[None] + 1) / 2, (side, side), mode="bilinear", antialias=True)
        scaled = boxes * torch.tensor([side / width, side / height, side / width, side / height])
        found: Tensor = self._segmenter(
            pixel_values=((unit - MEAN) / DEVIATION).to(self._device),
            input_boxes=scaled[None].to(self._device),
            multimask_output=False,
        ).pred_masks
        masks = interpolate(found[0].float().cpu(), (height, width), mode="bilinear", align_corners=False)
        return (masks > 0).any(dim=0).float()
