"""What every test shares: shapes are enforced, one thread, and each test its own seed."""

from jaxtyping import install_import_hook

hook = install_import_hook("anyrefill", "beartype.beartype")  # before anyrefill is imported anywhere

from copy import deepcopy  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

if TYPE_CHECKING:
    from anyrefill.backbone.fill import FluxFill


@pytest.fixture(autouse=True)
def same_seed() -> None:
    """Begin every test with the same random numbers, whichever tests ran before."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    """Return a seeded generator."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a random fill model; not to be changed."""
    from tiny_checkpoint import save_tiny_checkpoint

    return save_tiny_checkpoint(tmp_path_factory.mktemp("base") / "fill")


@pytest.fixture(scope="session")
def loaded(base: Path) -> "FluxFill":
    """Return it loaded; not to be changed."""
    from anyrefill.backbone.fill import FluxFill

    return FluxFill.load(base)


@pytest.fixture
def backbone(loaded: "FluxFill") -> "FluxFill":
    """Return a copy that a test may change."""
    return deepcopy(loaded)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random fill model in the embedded backbone's layout, with adapters for two tasks."""
    from tiny_checkpoint import save_tiny_adapter, save_tiny_checkpoint

    folder = save_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "micro")
    for task in ("colorization", "image-to-segment"):
        save_tiny_adapter(folder, folder / "adapters" / f"{task}.safetensors", task)
    return folder


@pytest.fixture
def as_micro(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the tiny model take the place of the embedded backbone."""
    from anyrefill.backbone import embedded

    monkeypatch.setattr(embedded, "EMBEDDED", tiny)
    return tiny


@pytest.fixture
def renders(tmp_path: Path) -> Path:
    """Return a folder of drawn stand-ins for renders."""
    from drawn_renders import draw_renders

    return draw_renders(tmp_path)
