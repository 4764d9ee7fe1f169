"""Prints hash_vectors.h: messages at the block edges, and chains of extends, as hashlib computes them."""

import hashlib

BANKS = ("sha1", "sha256", "sha384", "sha512", "sm3")  # in the order of csrc/api.h

# Around the ends of blocks of 64 and of 128 bytes, and around the sizes whose padding takes one more, up to five
# blocks (four are padded another way than more), and something longer.
SIZES = (
    *(0, 1, 55, 56, 63, 64, 65, 111, 112, 119, 120, 127, 128, 129, 183, 184, 191, 192, 239, 240, 247, 248, 255, 256),
    *(257, 311, 312, 319, 320, 367, 368, 383, 384, 385, 495, 496, 511, 512, 513, 623, 624, 639, 640, 641, 1000),
)

# 251 is prime, so no two blocks of a message are the same.
MESSAGE = bytes(i % 251 for i in range(max(SIZES)))


def extend_vectors(bank: str) -> list[tuple[int, int, list[bytes]]]:
    """The chains of SPEC 11.1: fill byte and last byte of the start value, then the digests."""

    def digest(message: bytes) -> bytes:
        return hashlib.new(bank, message).digest()

    size = len(digest(b""))
    sep0, sep_f, sep_e = (digest(bytes.fromhex(s)) for s in ("00000000", "ffffffff", "01000000"))
    return [
        (0x00, 0x00, []),
        (0x00, 0x00, [sep0]),
        (0x00, 0x00, [sep_f]),
        (0x00, 0x00, [sep_e]),
        (0x00, 0x03, [sep0]),
        (0x00, 0x04, [sep0]),
        (0xFF, 0xFF, [sep0]),
        (0x00, 0x00, [bytes(size)]),
        (0x00, 0x00, [b"\xff" * size]),
        (0x00, 0x00, [digest(b"Calling EFI Application from Boot Option"), sep0]),
        (
            0x00,
            0x00,
            [sep0, digest(b"Exit Boot Services Invocation"), digest(b"Exit Boot Services Returned with Success")],
        ),
    ]


def main() -> None:
    print("/* Written by make_vectors.py with Python's hashlib; do not edit. */")
    print("#ifndef PV_HASH_VECTORS_H\n#define PV_HASH_VECTORS_H\n\n#include <stdint.h>\n")
    print("/* Byte i of a message is i % 251. */")
    print("static const struct {\n  uint32_t bank, size;\n  const char *digest;\n} hash_vectors[] = {")
    for number, bank in enumerate(BANKS):
        for size in SIZES:
            print(f'    {{{number}, {size}, "{hashlib.new(bank, MESSAGE[:size]).hexdigest()}"}},')
    print("};\n")
    print("static const struct {\n  uint32_t bank;\n  uint8_t fill, last;\n  uint32_t n;")
    print("  const char *digests, *result;\n} extend_vectors[] = {")
    for number, bank in enumerate(BANKS):
        for fill, last, digests in extend_vectors(bank):
            value = bytes([fill]) * (hashlib.new(bank).digest_size - 1) + bytes([last])
            for digest in digests:
                value = hashlib.new(bank, value + digest).digest()
            print(f"    {{{number}, {fill:#04x}, {last:#04x}, {len(digests)},")
            print(f'     "{b"".join(digests).hex()}",\n     "{value.hex()}"}},')
    print("};\n\n#endif")


main()
