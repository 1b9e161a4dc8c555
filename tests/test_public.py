import importlib
import inspect
import subprocess
import sys
import types

import pytest

import anyrefill

MODULES = (
    *("canvas", "errors", "flow", "images", "pairs", "tasks", "types"),
    *("backbone.embedded", "cli", "demo", "demo.page", "evaluate", "evaluate.baselines", "evaluate.report", "painter"),
    *("metrics", "metrics.depth", "metrics.lpips", "metrics.pixels", "metrics.shapes"),
)


def test_import_is_light() -> None:
    code = (
        "import sys, anyrefill; heavy = {'torch', 'numpy', 'PIL', 'diffusers'} & set(sys.modules); print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", anyrefill.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(anyrefill, name) is not None
    assert name in dir(anyrefill)


def test_no_public_name_hides_a_module() -> None:
    """A submodule, once imported, takes the place of a lazy name that is spelled like it."""
    for name in anyrefill.__all__:
        found = getattr(anyrefill, name)
        if not isinstance(found, types.ModuleType):
            assert importlib.util.find_spec(f"anyrefill.{name}") is None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        anyrefill.nothing  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_all_lists_what_is_public(name: str) -> None:
    module = importlib.import_module(f"anyrefill.{name}")
    own = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    }
    assert own <= set(module.__all__), "public names missing from __all__"
    assert all(hasattr(module, key) for key in module.__all__)
    assert list(module.__all__) == sorted(
        module.__all__, key=lambda key: (not key.isupper(), not key[0].isupper(), key)
    )
