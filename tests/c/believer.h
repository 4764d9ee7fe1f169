/* A libcrypto that reads all it is given and believes all of it. */
#ifndef PV_BELIEVER_H
#define PV_BELIEVER_H

#include <stdlib.h>

#include "pyverify.h"

static void *any_new(void *library, const char *name, const char *properties) {
  (void)library, (void)properties;
  return name ? malloc(1) : NULL;
}
static void *any_from_key(void *library, void *key, const char *properties) {
  (void)library, (void)properties;
  return key ? malloc(1) : NULL;
}
static int any_init(void *context) { return context != NULL; }
static int any_key(void *context, void **key, int selection, void *parameters) {
  (void)context, (void)parameters;
  *key = malloc(1);
  return selection != 0;
}
static int any_verify(void *context, const uint8_t *signature, size_t size, const uint8_t *digest, size_t digest_size) {
  uint8_t sum = 0;
  for (size_t i = 0; i < size; i++) {
    sum ^= signature[i];
  }
  for (size_t i = 0; i < digest_size; i++) {
    sum ^= digest[i];
  }
  return context != NULL && (sum || !sum);
}
static int any_point(void *key, const uint8_t *point, size_t size) {
  return key != NULL && point[0] == 4 && (point[size - 1] || !point[size - 1]);
}
static int any_number(void *context, int number) { return context != NULL && number != 0; }
static int any_hash(void *context, const void *hash) { return context != NULL && hash != NULL; }
static void nothing(void) {}

static const pv_crypto believer = {any_new, any_from_key, free, any_init, any_key, any_point, free, any_init,
                                   any_verify, any_number, any_hash, any_number, nothing, {"1", "2", "3", "4", "5"}};

#endif
