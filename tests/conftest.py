"""What every test shares: shapes are enforced, one thread, and each test its own seed."""

from jaxtyping import install_import_hook

hook = install_import_hook("anyrefill", "beartype.beartype")  # before anyrefill is imported anywhere

import pytest  # noqa: E402
import torch  # noqa: E402


@pytest.fixture(autouse=True)
def same_seed() -> None:
    """Begin every test with the same random numbers, whichever tests ran before."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    """Return a seeded generator."""
    return torch.Generator().manual_seed(0)
