"""Arrays like those of other libraries. Some of the real ones need a GPU."""

import ml_dtypes
import numpy as np

ON_CPU, ON_GPU = 1, 2  # DLPack's numbers


class Shared:
    """An array of a library that knows nothing but DLPack."""

    device = ON_CPU

    def __init__(self, numbers: np.ndarray) -> None:
        self._numbers = numbers

    def __dlpack__(self, *, dl_device=None, copy=None, max_version=None):
        if (dl_device or self.__dlpack_device__()) != (1, 0):
            raise BufferError("numpy reads nothing that is on a GPU")
        return self._numbers.__dlpack__(max_version=max_version, copy=copy)

    def __dlpack_device__(self):
        return (self.device, 0)


class OldShared(Shared):
    """An array of a library older than DLPack 1.0. A caller cannot ask it for a device."""

    def __dlpack__(self):  # type: ignore[override]
        return super().__dlpack__()


class SharedSequence(Shared):
    """An array that numpy would take for a list, and copy number by number."""

    def __len__(self):
        return len(self._numbers)

    def __getitem__(self, i):
        raise AssertionError


class OnGpu(Shared):
    device = ON_GPU


class OldOnGpu(OldShared):
    device = ON_GPU

    @property
    def dtype(self):
        return self._numbers.dtype

    @property
    def shape(self):
        return self._numbers.shape


class LikeCupy(OldOnGpu):
    """An array of an old CuPy. Only its own method copies it to the CPU."""

    __cuda_array_interface__ = None

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def get(self):
        return self._numbers.copy()


class Halves:
    """An array of a library whose bfloat16 numpy cannot take by DLPack."""

    def __init__(self, numbers):
        self._numbers = numbers.astype(ml_dtypes.bfloat16)

    def __array__(self, dtype=None, copy=None):
        return self._numbers

    def __dlpack__(self, **options):
        raise BufferError

    def __dlpack_device__(self):
        return (1, 0)


class Series:
    """A series as in pandas or polars."""

    def __init__(self, numbers):
        self._numbers = numbers

    def __array__(self, dtype=None, copy=None):
        return self._numbers


class Interface:
    def __init__(self, numbers):
        self.__array_interface__ = numbers.__array_interface__
        self._numbers = numbers
