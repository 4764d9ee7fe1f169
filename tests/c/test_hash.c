/* Every variant of every hash: the standards' own examples, block edges, unaligned input, batches. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "hash_vectors.h"
#include "pyverify.h"

#define MESSAGE_56 "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
#define MESSAGE_112                                          \
  "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn" \
  "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
#define MESSAGE_64 "abcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcd"

/* FIPS 180-4 (NIST's examples) and GM/T 0004-2012, appendix A. */
static const struct {
  uint32_t bank;
  const char *message, *digest;
} standard[] = {
    {0, "", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
    {0, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {0, MESSAGE_56, "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
    {1, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {1, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {1, MESSAGE_56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {2, "",
     "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b"},
    {2, "abc",
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
    {2, MESSAGE_56,
     "3391fdddfc8dc7393707a65b1b4709397cf8b1d162af05abfe8f450de5f36bc6b0455a8520bc4e6f5fe95b1fe3c8452b"},
    {2, MESSAGE_112,
     "09330c33f71147e83d192fc782cd1b4753111b173b3b05d22fa08086e3b0f712fcc7c71a557e2db966c3e9fa91746039"},
    {3, "",
     "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
     "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
    {3, "abc",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {3, MESSAGE_56,
     "204a8fc6dda82f0a0ced7beb8e08a41657c16ef468b228a8279be331a703c335"
     "96fd15c13b1b07f9aa1d3bea57789ca031ad85c7a71dd70354ec631238ca3445"},
    {3, MESSAGE_112,
     "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
     "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"},
    {4, "", "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b"},
    {4, "abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"},
    {4, MESSAGE_56, "639b6cc5e64d9e37a390b192df4fa1ea0720ab747ff692b9f38c4e66ad7b8c05"},
    {4, MESSAGE_64, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"},
};

/* The message `shift` bytes into a block that ends with it, its digest to an odd address. */
static void check_message(uint32_t bank, int32_t variant, const uint8_t *message, size_t size, size_t shift,
                          const char *digest) {
  uint8_t got[1 + 64 + 1];
  uint8_t *blob = malloc(shift + size + 1);
  const int64_t offsets[2] = {(int64_t)shift + 1, (int64_t)(shift + 1 + size)};
  memcpy(blob + shift + 1, message, size);
  memset(got, 0xA5, sizeof got);
  int status = pv_hash(bank, variant, KEY, blob, offsets, 0, 1, got + 1, NULL);
  uint32_t n = pv_digest_size(bank);
  CHECK(status == PV_OK && is_hex(got + 1, n, digest), "bank %u variant %d size %zu shift %zu", bank, variant, size,
        shift);
  CHECK(got[0] == 0xA5 && got[n + 1] == 0xA5, "bank %u variant %d: wrote outside its row", bank, variant);
  free(blob);
}

static void check_variant(uint32_t bank, int32_t variant) {
  uint8_t message[1000];
  for (size_t i = 0; i < sizeof message; i++) {
    message[i] = (uint8_t)(i % 251);
  }
  for (size_t i = 0; i < sizeof standard / sizeof *standard; i++) {
    if (standard[i].bank == bank) {
      const char *text = standard[i].message;
      check_message(bank, variant, (const uint8_t *)text, strlen(text), 0, standard[i].digest);
    }
  }
  for (size_t i = 0; i < sizeof hash_vectors / sizeof *hash_vectors; i++) {
    for (size_t shift = 0; hash_vectors[i].bank == bank && shift < 8; shift++) {
      check_message(bank, variant, message, hash_vectors[i].size, shift, hash_vectors[i].digest);
    }
  }
}

/* Every message of the vectors `copies` times, in blocks of memory of their own size: lanes that end together, those that
 * do not, and one long message among short ones. Nothing is shared. */
static void check_copies(uint32_t bank, int32_t variant, size_t copies) {
  enum { VECTORS = sizeof hash_vectors / sizeof *hash_vectors };
  size_t which[VECTORS], kinds = 0, total = 0;
  for (size_t i = 0; i < VECTORS; i++) {
    if (hash_vectors[i].bank == bank) {
      which[kinds++] = i;
      total += hash_vectors[i].size;
    }
  }
  size_t n = kinds * copies, size = pv_digest_size(bank);
  uint8_t *blob = malloc(total * copies), *digests = malloc(n * size);
  int64_t *offsets = malloc((n + 1) * sizeof *offsets);
  offsets[0] = 0;
  for (size_t i = 0; i < n; i++) {
    size_t length = hash_vectors[which[i % kinds]].size;
    for (size_t k = 0; k < length; k++) {
      blob[(size_t)offsets[i] + k] = (uint8_t)(k % 251);
    }
    offsets[i + 1] = offsets[i] + (int64_t)length;
  }
  CHECK(pv_hash(bank, variant, 0, blob, offsets, 0, n, digests, NULL) == PV_OK, "bank %u", bank);
  for (size_t i = 0; i < n; i++) {
    CHECK(is_hex(digests + i * size, size, hash_vectors[which[i % kinds]].digest), "bank %u variant %d %zu copies size %u",
          bank, variant, copies, hash_vectors[which[i % kinds]].size);
  }
  free(blob);
  free(digests);
  free(offsets);
}

/* Three messages, one of them empty: a slice writes its own rows and no other. */
static void check_batch(uint32_t bank) {
  static const uint8_t blob[] = "abcabc";
  static const int64_t offsets[] = {0, 3, 3, 6};
  uint32_t size = pv_digest_size(bank);
  uint8_t whole[3 * 64], part[3 * 64];
  memset(part, 0xA5, sizeof part);
  CHECK(pv_hash(bank, -1, KEY, blob, offsets, 0, 3, whole, NULL) == PV_OK, "bank %u", bank);
  CHECK(memcmp(whole, whole + 2 * size, size) == 0 && memcmp(whole, whole + size, size) != 0, "bank %u", bank);
  CHECK(pv_hash(bank, -1, KEY, blob, offsets, 1, 2, part, NULL) == PV_OK, "bank %u", bank);
  CHECK(memcmp(part + size, whole + size, size) == 0, "bank %u", bank);
  CHECK(part[size - 1] == 0xA5 && part[2 * size] == 0xA5, "bank %u", bank);
}

int main(void) {
  static const size_t copies[] = {1, 3, 7, 8, 9, 15, 16, 17, 33}; /* around the lanes of every kernel */
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    uint32_t n = pv_variants(bank);
    CHECK(n >= 1 && strcmp(pv_variant_name(bank, 0), "portable") == 0, "bank %u", bank);
    CHECK(pv_variant_name(bank, n) == NULL, "bank %u", bank);
    for (int32_t variant = -1; variant < (int32_t)n; variant++) {
      check_variant(bank, variant);
      for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        check_copies(bank, variant, copies[i]);
      }
    }
    check_batch(bank);
  }
  CHECK(pv_variants(PV_BANKS) == 0 && pv_variant_name(PV_BANKS, 0) == NULL && pv_digest_size(PV_BANKS) == 0,
        "a bank that does not exist");
  return check_result();
}
