"""The system's libcrypto (OpenSSL 3), loaded at run time: nothing is built or linked against it.

The C core calls its functions in a loop (``csrc/quote_verify.c``); here they are only found and named.
"""

from __future__ import annotations

import functools
from typing import Any, Final

from cffi import FFI

from pyverify import _native

_LIBRARY: Final = "libcrypto.so.3"

# Fields of pv_crypto (csrc/api.h), and what OpenSSL 3 calls them: evp.h, rsa.h, err.h.
_FUNCTIONS: Final = {
    "pkey_ctx_new_from_name": "EVP_PKEY_CTX_new_from_name",
    "pkey_ctx_new_from_pkey": "EVP_PKEY_CTX_new_from_pkey",
    "pkey_ctx_free": "EVP_PKEY_CTX_free",
    "pkey_fromdata_init": "EVP_PKEY_fromdata_init",
    "pkey_fromdata": "EVP_PKEY_fromdata",
    "pkey_set1_encoded_public_key": "EVP_PKEY_set1_encoded_public_key",
    "pkey_free": "EVP_PKEY_free",
    "pkey_verify_init": "EVP_PKEY_verify_init",
    "pkey_verify": "EVP_PKEY_verify",
    "pkey_ctx_set_rsa_padding": "EVP_PKEY_CTX_set_rsa_padding",
    "pkey_ctx_set_signature_md": "EVP_PKEY_CTX_set_signature_md",
    "pkey_ctx_set_rsa_pss_saltlen": "EVP_PKEY_CTX_set_rsa_pss_saltlen",
    "err_clear_error": "ERR_clear_error",
}
_HASHES: Final = {
    "sha1": "EVP_sha1",
    "sha256": "EVP_sha256",
    "sha384": "EVP_sha384",
    "sha512": "EVP_sha512",
    "sm3_256": "EVP_sm3",
}
_VERSION: Final = "const char *OpenSSL_version(int);"


class Libcrypto:
    """A loaded libcrypto: its version, and its functions for ``_native.verify_signatures``."""

    def __init__(self, version: str, functions: _native.Crypto, library: object) -> None:
        self.version = version
        self.functions = functions
        self._library = library  # the functions live as long as it does


@functools.cache
def load() -> Libcrypto | None:
    """The system's libcrypto, or None where there is none of version 3 with all that is needed."""
    ffi: Any = FFI()
    names = [*_FUNCTIONS.values(), *_HASHES.values()]
    ffi.cdef("\n".join([_VERSION, *(f"const void *{name}(void);" for name in names)]))
    try:
        library = ffi.dlopen(_LIBRARY)
        address = {name: int(ffi.cast("uintptr_t", ffi.addressof(library, name))) for name in names}
        hashes = {bank: int(ffi.cast("uintptr_t", getattr(library, name)())) for bank, name in _HASHES.items()}
        version = ffi.string(library.OpenSSL_version(0)).decode("ascii", "replace")
    except (OSError, AttributeError):
        return None
    functions = {field: address[name] for field, name in _FUNCTIONS.items()}
    return Libcrypto(version, _native.Crypto(functions, hashes), library)
