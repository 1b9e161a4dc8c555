"""What people use: a backbone, a task and its adapter, called like a function."""

from anyrefill.painter.box import BoxLike
from anyrefill.painter.fitting import Frame, OutSize, Way
from anyrefill.painter.loading import load
from anyrefill.painter.painter import STEPS, Painter
from anyrefill.painter.records import Asked, Request, Stage, Together

__all__ = ["STEPS", "Asked", "BoxLike", "Frame", "OutSize", "Painter", "Request", "Stage", "Together", "Way", "load"]
