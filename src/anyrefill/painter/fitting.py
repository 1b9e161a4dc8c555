"""Sizes: how a picture of any size gets to the model, and how the painting gets back to it."""

from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate, pad

from anyrefill import images
from anyrefill.errors import UserError
from anyrefill.images import Fitted, ImageLike
from anyrefill.types import Mask, Panel, Size

__all__ = ["Frame", "OutSize", "Way"]

OutSize = Literal["keep", "panel"]
"""How large a painting comes out: as the picture, or as the model's panel."""

Way = Literal["stretch", "bucket", "tiles"]
"""How a picture of another size than the panel's is painted.

``stretch``: resized to the panel. ``bucket``: resized to another panel of about its area and the picture's proportions.
``tiles``: as large as it is, by overlapping panels.
"""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The sizes of one painting, all (height, width) in pixels.

    Attributes:
        native: what comes out.
        fitted: what pictures are resized to; their own size with tiles, unless a tile is larger.
        painted: of the model's panel, or of the tiles together: multiples of 16, filled up by repeating the last
            pixels where ``fitted`` is none.
        tile: of each tile; None if all is painted at once.
    """

    native: Size
    fitted: Size
    painted: Size
    tile: Size | None = None

    @classmethod
    def of(cls, native: Size, panel: Size, size: OutSize = "keep", way: Way = "stretch") -> "Frame":
        """Choose the sizes for a picture.

        Args:
            native: the picture's size.
            panel: that the model was trained on.
            size: whether the picture's size is kept.
            way: how.

        Raises:
            UserError: the panel's size is asked for by another way than stretching.
        """
        if size == "panel" and way != "stretch":
            raise UserError(f"A painting as large as the panel is stretched to it; for {way} the size must be kept.")
        if size == "panel":
            return cls(native=panel, fitted=panel, painted=panel)
        if way == "tiles" and (fitted := _at_least(native, panel)) != panel:
            return cls(native=native, fitted=fitted, painted=(_up(fitted[0]), _up(fitted[1])), tile=panel)
        fitted = _bucket(native, panel) if way == "bucket" else panel
        return cls(native=native, fitted=fitted, painted=fitted)

    @property
    def note(self) -> str:
        """One sentence to tell the user if the painting is resized to come out, else empty."""
        if self.fitted == self.native:
            return ""
        back = f"The painting is resized back to {self.native[1]} x {self.native[0]} px"
        larger = all(mine >= fitted for mine, fitted in zip(self.native, self.fitted, strict=True))
        return f"{back}; tiles would paint it as large as it is." if larger and not self.tile else f"{back}."

    def into(self, image: ImageLike) -> Fitted:
        """Read a picture in the size that is painted."""
        fitted = images.fit(image, self.fitted, multiple=1)
        return replace(fitted, panel=self._filled(fitted.panel))

    def mask(self, image: ImageLike, native: Size) -> Mask:
        """Read a mask in the size that is painted; native is its target's size."""
        return self._filled(images.to_mask(image, self.fitted, native))

    def back(self, painted: Panel) -> Float[Tensor, "3 h w"]:
        """Return what was painted in the size that comes out."""
        cropped = painted[:, : self.fitted[0], : self.fitted[1]]
        if self.fitted == self.native:
            return cropped
        return interpolate(cropped[None], self.native, mode="bicubic", antialias=True)[0].clamp(-1, 1)

    def _filled(self, picture: Tensor) -> Tensor:
        """Repeat the last pixels until tokens cover the picture."""
        below, right = self.painted[0] - self.fitted[0], self.painted[1] - self.fitted[1]
        return pad(picture, (0, right, 0, below), mode="replicate")


def _at_least(native: Size, panel: Size) -> Size:
    """Return the size enlarged, proportions kept, until a panel fits into it."""
    scale = max(1.0, panel[0] / native[0], panel[1] / native[1])
    return max(panel[0], round(native[0] * scale)), max(panel[1], round(native[1] * scale))


def _bucket(native: Size, panel: Size) -> Size:
    """Return the size in multiples of 16 that has about the panel's area and the picture's proportions."""
    scale = (panel[0] * panel[1] / (native[0] * native[1])) ** 0.5
    height, width = (max(16, round(side * scale / 16) * 16) for side in native)
    return height, width


def _up(side: int) -> int:
    """Return the next multiple of 16."""
    return -(-side // 16) * 16
