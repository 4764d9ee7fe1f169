"""Headers of tar archives."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify._core import ffi, lib
from pyverify._native.core import Blob, check, check_layout, pointer

TAR_HEADER_DTYPE: Final = np.dtype(
    [
        ("at", np.uint64),
        ("size", np.uint64),
        ("path_at", np.uint64),
        ("path_size", np.uint32),
        ("kind", np.uint8),
        ("fault", np.uint8),
        ("plain", np.uint8),
    ],
    align=True,
)
check_layout("pv_tar_header", TAR_HEADER_DTYPE)

TAR_FAULTS: Final = {
    name.removeprefix("PV_TAR_").lower(): int(getattr(lib, name))
    for name in dir(lib)
    if name.startswith("PV_TAR_") and name != "PV_TAR_PATH"
}
"""Why a block is no header of a member, by name; ``ok`` is 0, ``zeros`` the end of an archive."""

_PATH: Final = int(lib.PV_TAR_PATH)
_AT_ONCE: Final = 256
"""Headers a call: those of a chunk of 1 MiB, unless members are very small."""


def tar_headers(chunk: Blob, at: int) -> tuple[npt.NDArray[Any], list[str]]:
    """The headers of a tar from ``chunk[at]`` on, each where the data of the one before end, and their paths.

    Rows of TAR_HEADER_DTYPE, none where less than a block is left. All but the last are plain: regular files, or
    members of a kind without data, whose size is 0. The last one may be none of these or have a fault; or it is merely
    the last of so many, or of the chunk. Bytes of a path that are not UTF-8 are surrogates.
    """
    headers = np.zeros(_AT_ONCE, TAR_HEADER_DTYPE)
    paths = np.empty(_AT_ONCE * _PATH, np.uint8)
    n = ffi.new("uint64_t *")
    check(
        lib.pv_tar_headers(
            pointer("uint8_t[]", chunk, np.uint8),
            len(chunk),
            at,
            pointer("pv_tar_header[]", headers, TAR_HEADER_DTYPE, writable=True),
            len(headers),
            n,
            pointer("uint8_t[]", paths, np.uint8, writable=True),
        ),
        "pv_tar_headers",
    )
    headers = headers[: n[0]]
    if not len(headers):
        return headers, []
    size = int(headers["path_at"][-1] + headers["path_size"][-1])
    return headers, paths[:size].tobytes().decode("utf-8", "surrogateescape").split("\0")
