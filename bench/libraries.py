"""The small C programs of ``bench/c``, compiled when they are needed: the clock, and peers that only C can call.

A peer is left out where there is no C compiler, or its headers (Debian: libssl-dev, libipsec-mb-dev) are missing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from cffi import FFI

_FOLDER: Final = Path(__file__).parent / "c"
_EXTEND: Final = "const uint8_t *digests, const uint64_t *chain_at, uint64_t chains, uint8_t *values"
_HASH: Final = "const uint8_t *blob, const int64_t *offsets, uint64_t n, uint8_t *digests"

# What each source declares, and what it is linked with.
_SOURCES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "clock": ("uint64_t clock_adds(uint64_t n); uint64_t clock_four_chains(uint64_t n);", ()),
    "repeat": (
        f"""
        int repeat_core(uintptr_t extend, uint32_t times, uint32_t bank, int32_t variant, uint64_t key, {_EXTEND});
        int repeat_peer(uintptr_t extend, uint32_t times, uint32_t bank, {_EXTEND});
        """,
        (),
    ),
    "openssl": (
        f"""
        int openssl_extend(uint32_t bank, {_EXTEND});
        int openssl_evp_extend(uint32_t bank, {_EXTEND});
        int openssl_hash(uint32_t bank, {_HASH});
        int openssl_evp_hash(uint32_t bank, {_HASH});
        int openssl_hash_once(uint32_t bank, {_HASH});
        """,
        ("-lcrypto",),
    ),
    "openssl_verify": (
        """
        uint64_t openssl_verify(uint32_t scheme, uint32_t digest_size, const uint8_t *keys, const int64_t *key_offsets,
                                const uint32_t *key, const uint8_t *signatures, const int64_t *signature_offsets,
                                const uint8_t *digests, uint64_t n);
        """,
        ("-lcrypto",),
    ),
    "ipsec_mb": (
        """
        int ipsec_mb_extend(uint32_t bank, const uint8_t *digests, const uint64_t *chain_at, const uint64_t *order,
                            uint64_t chains, uint8_t *values);
        """,
        ("-lIPSec_MB",),
    ),
}

ffi: Final = FFI()
for _declarations, _ in _SOURCES.values():
    ffi.cdef(_declarations)


@cache
def library(name: str) -> Any:
    """A source of ``bench/c`` as a loaded library, None where it cannot be compiled or loaded here."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, f"{name}.so")
        links = _SOURCES[name][1]
        command = [*compiler, "-O2", "-shared", "-fPIC", "-o", str(made), str(_FOLDER / f"{name}.c"), *links]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        try:
            return ffi.dlopen(str(made))  # it stays loaded when the file is gone
        except OSError:
            return None


def pointer(kind: str, array: Any) -> Any:
    """A pointer to the items of a C-ordered array."""
    if not array.flags.c_contiguous:
        raise ValueError("the array is not C-contiguous")
    return ffi.from_buffer(kind, array)
