/* Everything that may be called from outside the core. This text is also the cffi cdef as it stands, so it holds
 * declarations only: no preprocessor conditionals, no includes, no attributes.
 *
 * Contracts that hold for every function:
 *   - The caller owns every buffer, scratch included. Nothing here allocates, prints, aborts, keeps a pointer
 *     after returning or starts a thread.
 *   - A batch of logs is a byte blob and n+1 offsets: log i is blob[offsets[i] .. offsets[i+1]). Offsets must be
 *     non-negative and must not decrease; bytes between offsets[0] and offsets[n] must be readable. The blob of
 *     a slice that has rows is never NULL, even where they are empty.
 *   - Work is the slice [first, last) of a batch. Outputs are written at the index of their own row only, so
 *     disjoint slices may run on several threads at once over the same arrays.
 *   - The return value (enum pv_status) says whether the CALLER made a mistake. Bad DATA is never an error: it
 *     is a row whose `fault` is set. After any status but PV_OK the outputs hold nothing of use.
 *   - A buffer of which nothing is read or written, for want of rows or of room, may be NULL; offsets may not.
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
  uint32_t symmetric_bits, symmetric_mode; /* of its key; a TPM_ALG_ID: both 0 where `symmetric` is NULL */
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
/* ---- IMA lists (SPEC 7) ----
 * A batch of lists is a ragged batch as above. A list is of the bank whose template digests it shows: the kernel's
 * `binary_runtime_measurements` is of SHA-1, `*_sha256` of SHA-256. */

/* Why an IMA list cannot be judged. pv_ima_fault_code() gives the public name. */
enum pv_ima_fault {
  PV_IMA_FAULT_NONE = 0,
  PV_IMA_FAULT_FORMAT = 1,     /* framing: a length, number or text that cannot be right */
  PV_IMA_FAULT_TRUNCATED = 2,  /* ends inside an entry */
  PV_IMA_FAULT_ENDIANNESS = 3, /* big-endian, as its first record shows */
  PV_IMA_FAULT_TEMPLATE = 4,   /* a template or a field of one that is not known */
  PV_IMA_FAULT_TOO_LARGE = 5,  /* more entries or bytes than the limits below */
};

enum pv_ima_template_id {
  PV_IMA_CUSTOM = 0, /* the template's name is its format */
  PV_IMA_LEGACY = 1, /* "ima" */
  PV_IMA_NG = 2,
  PV_IMA_SIG = 3,
  PV_IMA_NGV2 = 4,
  PV_IMA_SIGV2 = 5,
  PV_IMA_BUF = 6,
  PV_IMA_MODSIG = 7,
  PV_IMA_EVM_SIG = 8,
};

/* Bits of pv_ima_entry.flags; pv_ima_list.notes has those of all its entries. */
enum pv_ima_flag {
  PV_IMA_VIOLATION = 1,          /* the template digest in the list is all zeros: nothing else of the entry is proven */
  PV_IMA_BOOT_AGGREGATE = 2,     /* is called boot_aggregate */
  PV_IMA_KEXEC = 4,              /* a boot_aggregate that is not entry 0, or is called kexec_... */
  PV_IMA_WEAK_HASH = 8,          /* file digest by MD4, MD5, SHA-1 or RIPEMD of at most 160 bits */
  PV_IMA_DIGEST_LENGTH = 16,     /* file digest of another length than its algorithm has */
  PV_IMA_UNKNOWN_ALGORITHM = 32, /* file digest by an algorithm that the kernel does not have */
  PV_IMA_VERITY = 64,            /* file digest is that of fs-verity */
  PV_IMA_BUFFER = 128,           /* what lies at `signature` is a measured buffer */
  PV_IMA_NO_PATH = 256,          /* the template has no name */
  PV_IMA_NO_DIGEST = 512,        /* the template has no file digest */
};

#define PV_IMA_MAX_SIZE 268435456
#define PV_IMA_MAX_ENTRIES 1000000
/* SPEC 7.2: template data of one entry; buffers and signatures are far below. */
#define PV_IMA_MAX_DATA 8388608
/* pv_ima_entry.algorithm where it is not known; else the number of the kernel's enum hash_algo. */
#define PV_IMA_NO_ALGORITHM 255

/* One row a list. */
typedef struct {
  uint32_t fault;       /* enum pv_ima_fault */
  uint32_t bank;        /* whose template digests it shows */
  uint64_t fault_at;    /* offset in the list, as it was given, of what cannot be right or of the entry that was cut */
  uint64_t first_entry; /* index of its first entry in the caller's array */
  uint32_t n_entries;   /* whole entries read; those before the fault where there is one */
  uint32_t n_violations;
  uint32_t notes; /* enum pv_ima_flag bits of all its entries */
  uint32_t pcrs;  /* PCRs that its entries name, a bit each */
} pv_ima_list;

/* One row an entry. Offsets are from the start of its list, in the binary form. */
typedef struct {
  uint32_t pcr;
  uint32_t template_id;
  uint32_t at;
  uint32_t digest_at; /* template digest as the list shows it: never trusted, see pv_ima_mismatch */
  uint32_t name_at;   /* of the template */
  uint32_t name_size;
  uint32_t data_at; /* template data without its length: what is hashed, but for template "ima" */
  uint32_t data_size;
  uint32_t path_at; /* the name that the template holds, without a final NUL */
  uint32_t path_size;
  uint32_t algorithm;
  uint32_t file_digest_at;
  uint32_t file_digest_size;
  uint32_t signature_at;
  uint32_t signature_size;
  uint32_t flags;
} pv_ima_entry;

const char *pv_ima_fault_code(uint32_t fault);

/* The kernel's newer name of a file digest's algorithm ("sha256", "sm3"), NULL for numbers that are none; and the bytes
 * of its digests, 0 for those. pv_ima_algorithm is the reverse, and takes all names of SM3. */
const char *pv_ima_algorithm_name(uint32_t algorithm);
uint32_t pv_ima_algorithm_size(uint32_t algorithm);
uint32_t pv_ima_algorithm(const uint8_t *name, uint64_t size);

/* Capacity, in entries, that is enough for pv_ima_scan over this slice whatever the lists hold. */
uint64_t pv_ima_capacity(const int64_t *offsets, uint64_t first, uint64_t last);

/* Reads binary lists; `banks` has one a list. As pv_scan otherwise. */
int pv_ima_scan(const uint8_t *blob, const int64_t *offsets, const uint8_t *banks, uint64_t first, uint64_t last,
                pv_ima_list *lists, pv_ima_entry *entries, uint64_t capacity, uint64_t *n_entries);

/* Bytes that pv_ima_from_ascii needs at most for this slice. */
uint64_t pv_ima_binary_capacity(const int64_t *offsets, uint64_t first, uint64_t last);

/* Writes the lists of a slice in the binary form: those whose `is_ascii` is not 0 are translated, others copied. Where a
 * list has a fault (in its row: fault, fault_at, n_entries) it ends before the entry that has it. List i becomes
 * binary[binary_at[i - first] .. binary_at[i - first + 1]). */
int pv_ima_from_ascii(const uint8_t *blob, const int64_t *offsets, const uint8_t *banks, const uint8_t *is_ascii,
                      uint64_t first, uint64_t last, pv_ima_list *lists, uint8_t *binary, uint64_t capacity,
                      int64_t *binary_at);

/* pv_hash for messages that need not lie one after the other: message i is blob[begins[i] .. ends[i]). */
int pv_hash_pieces(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *blob, uint64_t blob_size,
                   const int64_t *begins, const int64_t *ends, uint64_t first, uint64_t last, uint8_t *digests,
                   pv_usage *usage);

/* What the kernel hashed for each entry, equal messages once, for pv_hash_pieces. A message is template data as it lies
 * in the blob, of blob_size bytes; only those of template "ima" are built, and as if they followed the blob.
 *   lists       rows of a batch that pv_ima_scan read as a whole (here first is 0), as are `entries`
 *   slots       n_slots numbers of scratch, a power of two and at least twice the entries; ignored with a key of 0,
 *               which gives each entry a message of its own
 *   built       room for `capacity` bytes: 276 for each entry of template "ima"
 *   begins, ends  of messages; room for as many as there are entries
 *   message_of  an entry: the number of its message
 *   n_messages, n_built  receive the number of messages, and the bytes that were built */
int pv_ima_messages(const uint8_t *blob, uint64_t blob_size, const int64_t *offsets, uint64_t n_lists,
                    const pv_ima_list *lists, const pv_ima_entry *entries, uint64_t n_entries, uint64_t key,
                    uint64_t *slots, uint64_t n_slots, uint8_t *built, uint64_t capacity, int64_t *begins,
                    int64_t *ends, uint32_t *message_of, uint64_t *n_messages, uint64_t *n_built);

/* Which entries of the lists of one bank show another template digest than that of their data: 1 in `differs`, 0 for
 * the others and for violations; entries of other banks' lists are left alone. Digests of fewer bytes than the bank's
 * are padded with zeros. */
int pv_ima_mismatch(const uint8_t *blob, const int64_t *offsets, uint64_t n_lists, const pv_ima_list *lists,
                    const pv_ima_entry *entries, uint64_t n_entries, uint32_t bank, const uint32_t *message_of,
                    const uint8_t *digests, uint64_t n_messages, uint32_t digest_size, uint8_t *differs);

/* Chains for pv_extend and pv_seek: what each list says that this PCR was extended with in this bank, zeros after digests
 * of fewer bytes than the bank's. A violation is violation_size bytes of 0xFF, and zeros. A list with a fault gets no
 * digests.
 *   chain_at  n_lists + 1 numbers
 *   chains    room for `capacity` digests of the bank: as many as there are entries */
int pv_ima_chains(uint64_t n_lists, const pv_ima_list *lists, const pv_ima_entry *entries, uint64_t n_entries,
                  uint32_t pcr, uint32_t bank, const uint32_t *message_of, const uint8_t *digests, uint64_t n_messages,
                  uint32_t digest_size, uint32_t violation_size, uint64_t *chain_at, uint8_t *chains,
                  uint64_t capacity);

/* Extends chains as pv_extend does, and stops each where its value equals its target: found[c] is the smallest number of
 * digests after which it does (0: the start value), or UINT64_MAX; values[c] is where it stopped. */
int pv_seek(uint32_t bank, int32_t variant, const uint8_t *digests, const uint64_t *chain_at, uint64_t first,
            uint64_t last, uint8_t *values, const uint8_t *targets, uint64_t *found);

/* All values of one chain: values[0] is given, values[i + 1] := H(values[i] || digest i); room for n + 1. */
int pv_trace(uint32_t bank, int32_t variant, const uint8_t *digests, uint64_t n, uint8_t *values);

/* Exact lookup. pv_index_slots says how many numbers the index of a table of n items takes; pv_index fills it in; pv_find
 * gives for each item of a batch the number of an equal item of the table, or PV_NOT_FOUND. The key is as in pv_extend
 * (0 will do where nobody hostile chose the items) and must be that of the index. */
#define PV_NOT_FOUND 0xFFFFFFFF
uint64_t pv_index_slots(uint64_t n);
int pv_index(const uint8_t *table, const int64_t *table_at, uint64_t n, uint64_t key, uint64_t *slots,
             uint64_t n_slots);
int pv_find(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, const uint8_t *table,
            const int64_t *table_at, uint64_t n, uint64_t key, const uint64_t *slots, uint64_t n_slots,
            uint32_t *found);

/* What pv_hunt looks for among digests: by bank 2^bits bits in words, two of which are set for each digest: those whose
 * numbers are the top `bits` bits, and the next, of its first 8 bytes, little-endian, times the key, which is odd. NULL for
 * banks in which nothing is looked for. */
typedef struct {
  const uint64_t *banks[5];
  uint64_t key;
  uint32_t bits; /* 6 to 32 */
} pv_filters;

/* A text, and the place in it of the byte that is looked for first: one that event data hardly ever has. */
typedef struct {
  const uint8_t *bytes;
  uint64_t size;
  uint64_t rare; /* below size */
} pv_text;

/* pv_scan, and a mark for each event, 1 where one of its digests may be one that is looked for, or its data has one of
 * the texts, all of it; `marks` has room for `capacity`. Texts that share the byte that is looked for first are found
 * in one pass where they follow each other. */
int pv_hunt(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, pv_log *logs,
            pv_event *events, uint64_t capacity, uint64_t *n_events, const pv_filters *filters, const pv_text *texts,
            uint64_t n_texts, uint8_t *marks);

/* Copies n pieces of a blob of blob_size bytes one after the other: piece i is sizes[i] bytes from at[i]. `collected` has
 * room for `capacity` bytes. */
int pv_collect(const uint8_t *blob, uint64_t blob_size, const int64_t *at, const uint32_t *sizes, uint64_t n,
               uint8_t *collected, uint64_t capacity);

/* What pv_ima_check says of an entry. */
enum pv_ima_outcome {
  PV_IMA_OK = 0,
  PV_IMA_CHANGED = 1,    /* the set has its path, with other digests only */
  PV_IMA_ADDED = 2,      /* the set does not have its path */
  PV_IMA_NOT_JUDGED = 3, /* entry 0 called boot_aggregate, and violations: their names prove nothing; lists without a set */
};

/* Bits of a `kind` beside the algorithm. */
#define PV_IMA_KIND_VERITY 256
#define PV_IMA_KIND_BUFFER 512

/* Many sets over one table of paths and their digests. */
typedef struct {
  const uint8_t *paths; /* n_paths distinct names, with their index (pv_index) */
  const int64_t *path_at;
  uint64_t n_paths;
  uint64_t key;
  const uint64_t *slots;
  uint64_t n_slots;
  const uint64_t *members_at; /* n_paths + 1 numbers: path p has the members [members_at[p], members_at[p + 1]) */
  const uint32_t *kinds;      /* a member: its algorithm, with PV_IMA_KIND_* bits */
  const uint8_t *digests;     /* a member: 64 bytes, zeros after its own; those of a path increase by (kind, bytes) */
  uint64_t n_members;
  const uint64_t *set_at; /* n_sets + 1 numbers: set s has the members numbers[set_at[s]] to numbers[set_at[s + 1] - 1] */
  uint64_t n_sets;
  const uint32_t *numbers; /* increasing within a set */
  uint64_t n_numbers;
} pv_ima_sets;

/* Holds the entries of a batch against sets.
 *   set_of    a list: the number of its set; any that is none leaves its entries unjudged
 *   outcomes  an entry: enum pv_ima_outcome
 *   members   an entry: the member that it is; where it changed the first that its set has of its path; else PV_NOT_FOUND */
int pv_ima_check(const uint8_t *blob, const int64_t *offsets, uint64_t n_lists, const pv_ima_list *lists,
                 const pv_ima_entry *entries, uint64_t n_entries, const uint32_t *set_of, const pv_ima_sets *sets,
                 uint8_t *outcomes, uint32_t *members);

/* Why a block of a tar is not the header of a member. */
enum pv_tar_fault {
  PV_TAR_OK = 0,
  PV_TAR_ZEROS = 1,      /* all zeros: the end of the archive */
  PV_TAR_DAMAGED = 2,    /* its sum is not what it says */
  PV_TAR_NOT_OCTAL = 3,  /* the size is no number */
  PV_TAR_IMPOSSIBLE = 4, /* the size is negative, or more than any file has */
};

/* The longest path of a header, with the zero byte at its end. */
#define PV_TAR_PATH 257

/* One row a header. */
typedef struct {
  uint64_t at;        /* where it begins */
  uint64_t size;      /* of the data that follow */
  uint64_t path_at;   /* of its path in `paths` */
  uint32_t path_size; /* without the zero byte */
  uint8_t kind;       /* the type flag */
  uint8_t fault;      /* enum pv_tar_fault; where it is set there is no path, and the size means nothing */
  uint8_t plain;      /* 1: a regular file, or of a kind that has no data, which says by itself where the next one is */
} pv_tar_header;

/* Reads headers of a tar from bytes[at] on, of `size` bytes in all: each where the data of the one before end, until one is
 * not plain, or the bytes or the capacity are at an end. The data of the last one may go past the bytes.
 *   headers  `capacity` rows, of which *n_headers are written
 *   paths    room for PV_TAR_PATH bytes a row: the paths one after the other, a zero byte after each */
int pv_tar_headers(const uint8_t *bytes, uint64_t size, uint64_t at, pv_tar_header *headers, uint64_t capacity,
                   uint64_t *n_headers, uint8_t *paths);
