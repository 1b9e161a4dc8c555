"""Loading from ``transformers``, from this machine alone unless a download is asked for."""

from typing import Any

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
        UserError: the files are not on this machine, cannot be downloaded, or are of another kind of model.
    """
    try:
        return cls.from_pretrained(model, local_files_only=not download, **more)
    except OSError as error:
        if download:
            raise UserError(f"Cannot download {model}: {str(error).splitlines()[0].rstrip('.')}.") from error
        raise UserError(
            f"{model} is not on this machine: let it be fetched once with --download,"
            f" or get it with `hf download {model}`, or give a folder that holds it."
        ) from error
    except ValueError as error:
        raise UserError(
            f"{model} cannot be used as {cls.__name__}: {str(error).splitlines()[0].rstrip('.')}."
        ) from error
