/*
 * What the files of `password` share: the schemes, one stored value taken apart, and the ways of
 * verifying it. Private to common/password*.c.
 */
#ifndef POSTERN_PASSWORD_SCHEME_H
#define POSTERN_PASSWORD_SCHEME_H

#include <stdbool.h>

#include "common/password.h"

enum password_kind {
	PASSWORD_CLEAR,
	PASSWORD_TRUNCATED,  /* LENGTH-text: only the first LENGTH bytes are known */
	PASSWORD_CRYPT,      /* crypt(3) or Argon2 */
	PASSWORD_MD5_CRYPT,  /* crypt(3), perhaps without its "$1$" */
	PASSWORD_MD5,        /* any of three forms, told apart by the payload */
	PASSWORD_DIGEST,     /* digest of the password */
	PASSWORD_SALTED,     /* digest of password and salt, then the salt */
	PASSWORD_CRAM_MD5,   /* both HMAC-MD5 states after the key block */
	PASSWORD_DIGEST_MD5, /* MD5 of user:realm:password */
	PASSWORD_PBKDF2,
	PASSWORD_SCRAM,
};

enum password_encoding {
	PASSWORD_GUESS, /* hex if the length fits, else base64 */
	PASSWORD_HEX,
	PASSWORD_BASE64,
};

struct password_scheme {
	const char *name;
	enum password_kind kind;
	const char *digest; /* OpenSSL's name, or NULL */
};

struct password_value {
	const struct password_scheme *scheme;
	enum password_encoding encoding; /* of data, for the kinds that hold binary data */
	struct buf data;                 /* a BUF_SECRET; without the {SCHEME} */
};

/*
 * Takes STORED apart. FOUND: VALUE_R is set; it is never empty. NONE, PERM, TEMP as
 * password_verify(). password_value_free() in every case.
 */
enum result password_value_split(struct password_value *value_r, const char *stored,
				 const char *default_scheme, struct error *err) MUST_CHECK;
void password_value_free(struct password_value *value);

/* Each verifies VALUE of its kinds and answers as password_verify(); LIMITS has no zeros. */
enum result password_crypt_verify(const char *password, const char *stored,
				  const struct password_limits *limits,
				  struct error *err) MUST_CHECK;
enum result password_digest_verify(const char *password, const struct password_value *value,
				   struct error *err) MUST_CHECK;
enum result password_cram_md5_verify(const char *password, const struct password_value *value,
				     struct error *err) MUST_CHECK;
enum result password_digest_md5_verify(const char *password, const struct password_value *value,
				       const char *login, struct error *err) MUST_CHECK;
enum result password_pbkdf2_verify(const char *password, const struct password_value *value,
				   const struct password_limits *limits,
				   struct error *err) MUST_CHECK;
enum result password_scram_verify(const char *password, const struct password_value *value,
				  const struct password_limits *limits,
				  struct error *err) MUST_CHECK;

/* DIGEST (OpenSSL's name) over A then B into DIGEST_R (EVP_MAX_MD_SIZE bytes). */
enum result password_digest(const char *digest, const void *a, size_t a_len, const void *b,
			    size_t b_len, unsigned char *digest_r, size_t *len_r,
			    struct error *err) MUST_CHECK;

/* Bytes of DIGEST, one of those in the table of schemes. */
size_t password_digest_size(const char *digest);

/*
 * The keys of SCRAM (RFC 5802 section 3), each as long as the digest: KEYS_R holds StoredKey, then
 * ServerKey; EVP_MAX_MD_SIZE bytes each.
 */
struct password_scram_keys {
	unsigned char stored[64], server[64];
	size_t len;
};
enum result password_scram_derive(const char *digest, const char *password, const void *salt,
				  size_t salt_len, uint32_t iterations,
				  struct password_scram_keys *keys_r, struct error *err) MUST_CHECK;

/* Strict: the alphabet, padding to groups of four. False: malformed. Appends; ask buf_ok(). */
bool password_base64_decode(const char *text, size_t len, struct buf *out) MUST_CHECK;
bool password_hex_decode(const char *text, size_t len, struct buf *out) MUST_CHECK;
void password_base64_append(struct buf *buf, const void *data, size_t len);

#endif
