"""Pickles of NumPy arrays from elsewhere, read without letting them run anything."""

import codecs
import pickle
from typing import Any, final

import numpy as np

__all__ = ["ArraysOnly"]


@final
class ArraysOnly(pickle.Unpickler):
    """Reads NumPy arrays and scalars and plain containers, and refuses to import anything else.

    A file of Python 2 is read with ``encoding="latin1"``.
    """

    def find_class(self, module_name: str, global_name: str, /) -> Any:  # noqa: ANN401 - the signature of pickle
        """Return one of the things that an array is made of.

        Raises:
            pickle.UnpicklingError: the file asks for anything else.
        """
        allowed = {
            ("multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
            ("multiarray", "scalar"): np.float64(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): codecs.encode,  # how Python 2's strings of bytes come out of a pickle
        }
        module = module_name.removeprefix("numpy.core.").removeprefix("numpy._core.")
        if (module, global_name) not in allowed:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} has no place in a file of arrays")
        return allowed[module, global_name]
