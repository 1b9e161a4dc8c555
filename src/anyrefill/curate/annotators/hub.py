"""Loading from ``transformers``, from this machine alone unless a download is asked for."""

from typing import Any

from safetensors import SafetensorError

from anyrefill.errors import UserError

__all__ = ["pretrained"]


def pretrained(cls: Any, model: str, *, download: bool, **more: object) -> Any:  # noqa: ANN401 - any class of transformers
    """Return ``cls.from_pretrained(model)``.

    Args:
        cls: a model or processor class of ``transformers``, mostly an ``Auto`` one.
        model: hub id or folder.
        download: whether the hub may be asked.
        more: for ``from_pretrained``.

    Raises:
        UserError: the files are not on this machine, cannot be downloaded, are damaged or of another kind of model, or
            need a package that is not installed.
    """
    try:
        return cls.from_pretrained(model, local_files_only=not download, **more)
    except OSError as error:
        if download:
            raise UserError(f"Cannot download {model}: {_first_line(error)}.") from error
        raise UserError(
            f"{model} is not on this machine: let it be fetched once with --download,"
            f" or get it with `hf download {model}`, or give a folder that holds it."
        ) from error
    except ImportError as error:
        raise UserError(f"{model} needs a package that is not installed: {_first_line(error)}.") from error
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{model} cannot be used as {cls.__name__}: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text that says something."""
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)
