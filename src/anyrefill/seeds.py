"""Which seeds every generator of random numbers here takes."""

from anyrefill.errors import UserError

__all__ = ["LARGEST", "check_seed"]

LARGEST = 2**40
"""Far below where a seed times the number of a step leaves 64 bits."""


def check_seed(seed: int) -> None:
    """Refuse other seeds.

    Raises:
        UserError: the seed is below 0 or beyond `LARGEST`.
    """
    if not 0 <= seed <= LARGEST:
        raise UserError(f"--seed must be at least 0 and at most {LARGEST}, not {seed}.")
