/*
 * Verifying and making stored passwords, every scheme found in the field ("password" in the mail
 * databases): crypt(3) family through libxcrypt, Argon2 through libsodium, digests through OpenSSL.
 *
 * The form is {SCHEME[.b64|.base64|.hex]}data, the scheme in any case; without a prefix "$..." is
 * crypt(3) or Argon2, else the site's default scheme. {MD5} is told apart by its payload ("$1$",
 * 32 hex digits, 24 characters of base64).
 *
 * Costs read from a database are a denial of service: they are capped (struct password_limits).
 */
#ifndef POSTERN_PASSWORD_H
#define POSTERN_PASSWORD_H

#include <stdint.h>

#include "common/buf.h"
#include "common/result.h"

struct password_limits {
	uint32_t sha_rounds;   /* SHA-crypt rounds=, PBKDF2 and SCRAM iterations; 0: the default
				  1000000 */
	uint32_t bcrypt_cost;  /* log2; 0: the default 14 */
	uint64_t memory_bytes; /* Argon2, scrypt, yescrypt; 0: the default 256 MiB */
	uint32_t passes;       /* Argon2 t=; 0: the default 16 */
};

/* Passwords are at most this long (an attacker's cost, too); longer never match. */
#define PASSWORD_MAX 1024

/*
 * FOUND: the password matches STORED. NONE: it does not (also empty STORED or password, "*", "!",
 * anything that can never authenticate). PERM: STORED is malformed, of an unknown scheme or over
 * LIMITS (may be NULL: defaults); the text names the scheme, never the value; treat the login as
 * failed for this secret but tell the administrator. TEMP: out of memory.
 *
 * LOGIN is the login name (DIGEST-MD5 only, may be NULL). DEFAULT_SCHEME ("PLAIN", "CRYPT", ...)
 * is for values without prefix; NULL or "" means: only values that name their scheme, DES crypt
 * excluded, match.
 */
enum result password_verify(const char *password, const char *stored, const char *login,
			    const char *default_scheme, const struct password_limits *limits,
			    struct error *err) MUST_CHECK;

/*
 * The clear text inside STORED, if it holds any ({PLAIN}, {CLEAR}, {CLEARTEXT}, or no prefix with
 * a clear default scheme). FOUND: appended to CLEAR_R (a BUF_SECRET). NONE: a hash, or nothing.
 */
enum result password_clear_text(const char *stored, const char *default_scheme,
				struct buf *clear_r) MUST_CHECK;

/*
 * A SCRAM verifier in RFC 5803 text ("SCRAM-SHA-256$4096:salt$stored:server") if STORED is one,
 * in that form or Dovecot's {SCRAM-SHA-256}iter,salt,stored,server. FOUND: appended.
 */
enum result password_scram(const char *stored, struct buf *verifier_r) MUST_CHECK;

/*
 * Makes a new stored value, prefix included, with fresh salt: SCHEME is one of SHA512-CRYPT
 * (default when NULL), SHA256-CRYPT, BLF-CRYPT, YESCRYPT, ARGON2ID, SSHA512, PLAIN, SCRAM-SHA-256.
 * crypt forms are written without prefix ("$6$..."), because every reader knows those. PERM:
 * unknown scheme, or a password that is empty, too long or has control characters.
 */
enum result password_make(const char *password, const char *scheme, struct buf *stored_r,
			  struct error *err) MUST_CHECK;

#endif
