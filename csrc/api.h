/* Everything that may be called from outside the core. This text is also the cffi cdef as it stands, so it holds
 * declarations only: no preprocessor conditionals, no includes, no attributes.
 *
 * Contracts that hold for every function:
 *   - The caller owns every buffer, scratch included. Nothing here allocates, prints, aborts, keeps a pointer
 *     after returning or starts a thread.
 *   - A batch of logs is a byte blob and n+1 offsets: log i is blob[offsets[i] .. offsets[i+1]). Offsets must be
 *     non-negative and must not decrease; bytes between offsets[0] and offsets[n] must be readable. The blob is
 *     never NULL, even where it is empty.
 *   - Work is the slice [first, last) of a batch. Outputs are written at the index of their own row only, so
 *     disjoint slices may run on several threads at once over the same arrays.
 *   - The return value (enum pv_status) says whether the CALLER made a mistake. Bad DATA is never an error: it
 *     is a row whose `fault` is set. After any status but PV_OK the outputs hold nothing of use.
 *   - Input and output must not overlap. No buffer needs alignment beyond that of its type; the blob needs none.
 */

enum pv_status {
  PV_OK = 0,
  PV_BAD_ARGUMENT = 1, /* slice outside the batch, offsets that decrease, a bank or variant that does not exist */
  PV_NO_ROOM = 2,      /* an output or the scratch is too small */
};

/* Why a log cannot be judged. pv_fault_code() gives the public name. */
enum pv_fault {
  PV_FAULT_NONE = 0,
  PV_FAULT_NOT_A_LOG = 1,
  PV_FAULT_TRUNCATED = 2,
  PV_FAULT_HEADER = 3,
  PV_FAULT_ALGORITHMS = 4,
  PV_FAULT_DIGESTS = 5,
  PV_FAULT_EVENT_SIZE = 6,
  PV_FAULT_PCR_INDEX = 7,
  PV_FAULT_TRAILING = 8,
  PV_FAULT_TOO_LARGE = 9,
};

/* Things worth telling about a log that could be read; a bit mask in pv_log.notes. */
enum pv_note {
  PV_NOTE_PADDING = 1,             /* 0x00 or 0xFF bytes after the last event */
  PV_NOTE_UNKNOWN_ALGORITHM = 2,   /* the header lists a bank whose hash is not known here; it is skipped */
  PV_NOTE_DUPLICATE_HEADER = 4,    /* a second Spec ID event; the first one counts */
  PV_NOTE_NO_ACTION_DIGEST = 8,    /* an EV_NO_ACTION event with a digest that is not zero */
  PV_NOTE_START_DUPLICATE = 16,    /* more than one StartupLocality, or more than one H-CRTM event */
  PV_NOTE_START_LATE = 32,         /* StartupLocality or H-CRTM after PCR 0 was first extended */
  PV_NOTE_START_PCR = 64,          /* StartupLocality or H-CRTM in another PCR than 0 */
  PV_NOTE_START_VALUE = 128,       /* StartupLocality of another size than 17 or another value than 0, 3, 4 */
  PV_NOTE_START_CONTRADICTION = 256, /* locality 4 without an H-CRTM event, or 0 or 3 with one */
  PV_NOTE_MISSING_DIGEST = 512,    /* an extended event lacks a digest for a listed bank: see pv_log.incomplete */
};

/* The banks, in the order of their bits and columns everywhere: sha1 sha256 sha384 sha512 sm3_256. */
#define PV_BANKS 5
#define PV_PCRS 24
/* SPEC 2.3: limits to enforce before anything is allocated. */
#define PV_MAX_LOG_SIZE 67108864
#define PV_MAX_EVENTS 200000
/* The largest event data that peers accept (1 MiB). A size that does not fit AND is larger than this is a lie
 * (PV_FAULT_EVENT_SIZE); one that merely does not fit is a log that was cut (PV_FAULT_TRUNCATED). */
#define PV_PLAUSIBLE_EVENT_SIZE 1048576
/* pv_event.digest_at of a bank for which the event has no digest. */
#define PV_NO_DIGEST 0xFFFFFFFF
#define PV_FORMAT_TCG1 1
#define PV_FORMAT_TCG2 2

/* One row a log. */
typedef struct {
  uint32_t fault;       /* enum pv_fault */
  uint32_t format;      /* PV_FORMAT_*; 0 where the log is not one */
  uint64_t fault_at;    /* offset in the log of the field that cannot be right, or of the entry that was cut */
  uint64_t first_event; /* index of its first event in the caller's event array; 0 from pv_replay, which has none */
  uint32_t n_events;    /* whole events read; those before the fault where there is one */
  uint32_t banks;       /* banks the header lists, a bit each; none where the header has the fault */
  uint32_t incomplete;  /* banks for which an extended event lacks the digest: their replay proves nothing */
  uint32_t touched;     /* PCRs extended at least once, a bit each */
  uint32_t notes;       /* enum pv_note bits */
  uint32_t locality;    /* the last byte of PCR 0 at start: 0, 3 or 4 */
  uint64_t padding;     /* bytes of padding after the last event */
} pv_log;

/* One row an event. Offsets are from the start of its log. */
typedef struct {
  uint32_t pcr;
  uint32_t type;
  uint32_t at;           /* where the entry begins */
  uint32_t data_at;
  uint32_t data_size;
  uint32_t digest_at[5]; /* by bank; PV_NO_DIGEST where it has none */
} pv_event;

/* What a call did on each variant of a bank's hash: lane steps in all, and those of them that had work. A step is one
 * digest of a chain or one block of a message. Calls add to it; the caller sets it to zeros before. */
#define PV_MAX_VARIANTS 8
typedef struct {
  uint64_t steps[8];
  uint64_t filled[8];
} pv_usage;

/* The dotted public name of a fault ("log.truncated"), or NULL for none and for numbers that are no fault. */
const char *pv_fault_code(uint32_t fault);

/* Bytes of a digest of this bank; 0 for numbers that are no bank. */
uint32_t pv_digest_size(uint32_t bank);

/* How many variants the hash of this bank has on this machine, and the name of the i-th, slowest first
 * ("portable", ...). NULL where there is no such variant. */
uint32_t pv_variants(uint32_t bank);
const char *pv_variant_name(uint32_t bank, uint32_t i);

/* Capacity, in events, that is enough for pv_scan over this slice whatever the logs hold. */
uint64_t pv_scan_capacity(const int64_t *offsets, uint64_t first, uint64_t last);

/* Reads the logs of a slice into rows and event columns.
 *   logs      one row a log of the batch; rows [first, last) are written
 *   events    capacity rows; the events of the slice are written one after the other from index 0, and
 *             logs[i].first_event says where those of log i begin
 *   n_events  receives the number written */
int pv_scan(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, pv_log *logs,
            pv_event *events, uint64_t capacity, uint64_t *n_events);

/* Scratch, in bytes, that pv_replay needs for this slice. */
uint64_t pv_replay_scratch(const int64_t *offsets, uint64_t first, uint64_t last);

/* Scans and replays a slice, tile by tile so that the work stays in cache: one row a log and, for each bank
 * asked for (a bit each in `banks`), 24 PCR values of pv_digest_size bytes a log. Output pointers of other banks
 * may be NULL. In a bank that a log does not list, and in a log with a fault, that row is all zero bytes: `logs`
 * says so, and the caller must look. In an incomplete bank it is what the digests that are there give.
 *   variants  for each of the PV_BANKS banks an index for pv_variant_name, or -1 (see pv_extend)
 *   key       as in pv_extend; equal logs of the slice are read and replayed once too
 *   scratch   at least pv_replay_scratch bytes, aligned to 64 */
int pv_replay(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, uint32_t banks,
              const int32_t *variants, uint64_t key, pv_log *logs, uint8_t *sha1, uint8_t *sha256, uint8_t *sha384,
              uint8_t *sha512, uint8_t *sm3_256, uint8_t *scratch, uint64_t scratch_size);

/* Extends chains: values[c] := H(values[c] || d) for each digest d of chain c, in order. Digests lie one after
 * the other; chain c is digests [chain_at[c], chain_at[c+1]). `values` holds the start values and receives the
 * results, pv_digest_size(bank) bytes each. A variant of -1 uses the kernel that is best for what is left to do, at
 * any moment; any other forces that one. `usage` may be NULL.
 *   key       equal chains with equal start values are extended once, found by a hash under this key: a number that
 *             nobody outside can guess, or 0 to do each chain on its own */
int pv_extend(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *digests, const uint64_t *chain_at,
              uint64_t first, uint64_t last, uint8_t *values, pv_usage *usage);

/* Hashes the messages of a slice of a batch: digests[i] := H(message i), pv_digest_size(bank) bytes each; equal
 * messages once (key as in pv_extend). */
int pv_hash(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *blob, const int64_t *offsets,
            uint64_t first, uint64_t last, uint8_t *digests, pv_usage *usage);

/* Finds equal items of a batch: same_as[i] is the number of an equal item at or before i, mostly the first one. Items
 * that lie far apart (4,096 and more) are not compared, nor are any where a sample hardly repeats.
 *   key       as in pv_extend */
int pv_group(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, uint64_t key,
             uint64_t *same_as);

/* Compares PCR rows of one bank with sets of allowed values.
 *   values     24 values of digest_size bytes a row
 *   reference  a row: which reference it is held against; rows with a number >= n_references get every PCR
 *              of the mask reported
 *   set_at     24 * n_references + 1 numbers: the set of (reference r, PCR p) is
 *              members[set_at[24r+p] .. set_at[24r+p+1]); an empty set allows nothing
 *   members    indices into `allowed`, each < n_allowed (larger ones match nothing)
 *   mask       PCRs to compare, a bit each
 *   differs    a row: bits of the PCRs whose value is in no allowed set */
int pv_compare(const uint8_t *values, uint32_t digest_size, const uint32_t *reference, uint64_t first,
               uint64_t last, const uint64_t *set_at, uint64_t n_references, const uint32_t *members,
               uint64_t n_members, const uint8_t *allowed, uint64_t n_allowed, uint32_t mask, uint32_t *differs);

/* ---- Quotes (SPEC section 8): what the TPM marshals, big-endian, read strictly. Offsets are from the start of an item. */

/* Why an attest, a signature or a public area cannot be judged. pv_quote_fault_code() gives the public name. */
enum pv_quote_fault {
  PV_QUOTE_NONE = 0,
  PV_QUOTE_TYPE = 1,      /* magic or type is not that of a quote */
  PV_QUOTE_TRUNCATED = 2, /* ends inside a field */
  PV_QUOTE_TRAILING = 3,  /* bytes after the last field, or a TPM2B of another size than it states */
  PV_QUOTE_BOUND = 4,     /* a size or count outside what the structure allows */
  PV_QUOTE_VALUE = 5,     /* a field that holds what it cannot hold */
  PV_QUOTE_SCHEME = 6,    /* an algorithm that signs no quotes: HMAC, ECDAA, none; a key that does not sign */
};

#define PV_MAX_SELECTIONS 16
/* pv_attest.bank of a hash that is not known here. */
#define PV_NO_BANK -1

/* How a signature is written. */
enum pv_signature_form {
  PV_SIGNATURE_TPMT = 0, /* TPMT_SIGNATURE: states scheme and hash */
  PV_SIGNATURE_RSA = 1,  /* the bytes of an RSA signature alone; scheme and hash come from the key */
  PV_SIGNATURE_DER = 2,  /* SEQUENCE of two INTEGERs; likewise */
};

/* One row a TPMS_ATTEST of type QUOTE, bare or in a TPM2B_ATTEST. After a fault only fault, fault_at, at, magic and type
 * mean anything. */
typedef struct {
  uint32_t fault; /* enum pv_quote_fault */
  uint32_t fault_at;
  uint32_t at; /* where the TPMS_ATTEST, which is what was signed, begins: 0 or 2 */
  uint32_t magic;
  uint32_t type;
  uint32_t signer_at, signer_size; /* qualifiedSigner */
  uint32_t nonce_at, nonce_size;   /* extraData */
  uint32_t reset_count, restart_count;
  uint32_t safe;
  uint64_t clock; /* milliseconds */
  uint64_t firmware_version;
  uint32_t digest_at, digest_size; /* pcrDigest */
  uint32_t n_selections;
  uint32_t empty;                  /* 1 where no PCR is selected */
  uint32_t selected[5];            /* PCRs by bank, a bit each */
  uint32_t hash[16];               /* the selections in their order: TPM_ALG_ID, */
  int32_t bank[16];                /* bank or PV_NO_BANK, */
  uint32_t mask[16];               /* and PCRs, a bit each, 32 of them */
} pv_attest;

/* One row a signature. */
typedef struct {
  uint32_t fault; /* enum pv_quote_fault */
  uint32_t fault_at;
  uint32_t form;           /* enum pv_signature_form */
  uint32_t scheme;         /* TPM_ALG_ID; 0 where the form states none */
  uint32_t hash;           /* TPM_ALG_ID; 0 where the form states none */
  uint32_t r_at, r_size;   /* r, or the whole RSA signature */
  uint32_t s_at, s_size;   /* s; size 0 in an RSA signature */
} pv_signature;

/* One row a public area: TPMT_PUBLIC, bare or in a TPM2B_PUBLIC. */
typedef struct {
  uint32_t fault; /* enum pv_quote_fault */
  uint32_t fault_at;
  uint32_t at;          /* where the TPMT_PUBLIC, whose hash is the Name, begins: 0 or 2 */
  uint32_t type;        /* TPM_ALG_ID: RSA or ECC */
  uint32_t name_hash;   /* TPM_ALG_ID of nameAlg */
  uint32_t attributes;  /* TPMA_OBJECT */
  uint32_t symmetric;   /* TPM_ALG_ID */
  uint32_t scheme;      /* TPM_ALG_ID; NULL is 0x0010 */
  uint32_t scheme_hash; /* TPM_ALG_ID; 0 where the scheme has none */
  uint32_t curve;       /* TPM_ECC_CURVE; 0 for RSA */
  uint32_t bits;        /* of the modulus; 0 for ECC */
  uint32_t exponent;    /* 65537 where the TPM writes 0; 0 for ECC */
  uint32_t x_at, x_size; /* x, or the modulus */
  uint32_t y_at, y_size; /* y; size 0 for RSA */
} pv_public;

/* The dotted public name of a fault ("quote.format"), or NULL for none and for numbers that are no fault. */
const char *pv_quote_fault_code(uint32_t fault);

/* Read the items of a slice, one row each. */
int pv_attest_decode(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, pv_attest *rows);
int pv_signature_decode(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last,
                        pv_signature *rows);
int pv_public_decode(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, pv_public *rows);

/* Lays out the PCR values that tpm2_quote writes beside a quote ("serialized" or "values") by bank and PCR. Which value
 * is whose is read from the SIGNED selections alone, in their order; what the file itself says of it is not looked at.
 *   attests  rows of pv_attest_decode; those with a fault, an unknown bank or a PCR above 23 get no values
 *   values   by bank 24 values of pv_digest_size bytes a row; written where `laid_out` says so, else zeros
 *   laid_out a row: 1 where the item holds exactly as many values, of the right sizes, as are selected */
int pv_values_decode(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last,
                     const pv_attest *attests, uint8_t *sha1, uint8_t *sha256, uint8_t *sha384, uint8_t *sha512,
                     uint8_t *sm3_256, uint8_t *laid_out);

/* What pv_verify_signatures says of a signature. */
enum pv_signature_result {
  PV_SIGNATURE_BAD = 0,
  PV_SIGNATURE_GOOD = 1,
  PV_SIGNATURE_RANGE = 2,    /* r or s is not in [1, n), is longer than the field, or an RSA signature than the modulus */
  PV_SIGNATURE_UNUSABLE = 3, /* no such key or scheme in libcrypto, or not of this key */
};

/* Functions of libcrypto (OpenSSL 3), found by the caller: nothing here is linked against it. */
typedef struct {
  void *(*pkey_ctx_new_from_name)(void *library, const char *name, const char *properties);
  void *(*pkey_ctx_new_from_pkey)(void *library, void *key, const char *properties);
  void (*pkey_ctx_free)(void *context);
  int (*pkey_fromdata_init)(void *context);
  int (*pkey_fromdata)(void *context, void **key, int selection, void *parameters);
  int (*pkey_set1_encoded_public_key)(void *key, const uint8_t *point, size_t size);
  void (*pkey_free)(void *key);
  int (*pkey_verify_init)(void *context);
  int (*pkey_verify)(void *context, const uint8_t *signature, size_t signature_size, const uint8_t *digest,
                     size_t digest_size);
  int (*pkey_ctx_set_rsa_padding)(void *context, int padding);
  int (*pkey_ctx_set_signature_md)(void *context, const void *hash);
  int (*pkey_ctx_set_rsa_pss_saltlen)(void *context, int size);
  void (*err_clear_error)(void);
  const void *hashes[5]; /* by bank: EVP_sha1() ... */
} pv_crypto;

/* What is to be verified: row i is the signature signatures[i] over the digest at digests + 64 * i. */
typedef struct {
  const uint8_t *signature_blob;
  const int64_t *signature_offsets;
  const pv_signature *signatures;
  const uint8_t *key_blob;
  const int64_t *key_offsets;
  const pv_public *keys;
  const uint32_t *key;     /* a row: the number of its key, below n_keys */
  const uint32_t *scheme;  /* a row: TPM_ALG_ID of RSASSA, RSAPSS, ECDSA or SM2 */
  const uint32_t *hash;    /* a row: the bank of the hash that the digest is of */
  const uint8_t *digests;
  uint64_t n, n_keys;
} pv_signed;

/* Verifies signatures over digests, rows order[first] to order[last - 1]: results[order[i]] becomes an enum
 * pv_signature_result. A key is built anew whenever it differs from that of the row before: order rows by key. */
int pv_verify_signatures(const pv_crypto *functions, const pv_signed *rows, const uint64_t *order, uint64_t first,
                         uint64_t last, uint8_t *results);
