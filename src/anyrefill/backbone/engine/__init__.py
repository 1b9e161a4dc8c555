"""Our own way through a FluxTransformer2DModel's weights: the same function, with less to do for every step.

What the latents do not change is made once; what nobody needs is not made; with a clean prefix the known half of the
canvas passes once. Works for any configuration, trained or not, in float32 and bfloat16.
"""

from anyrefill.backbone.engine.forward import field, masked_forward
from anyrefill.backbone.engine.layers import Layers, by_modules, fusable, fused, unmerged
from anyrefill.backbone.engine.layout import Layout
from anyrefill.backbone.engine.parts import idle

__all__ = [
    "Layers",
    "Layout",
    "by_modules",
    "field",
    "fusable",
    "fused",
    "idle",
    "masked_forward",
    "unmerged",
]
