/*
 * Mail addresses as keys: split, unquote, fold, extension. Rules: RFC 5321 section 4.1.2, RFC 6531,
 * and the project's rules for keys (Postfix sends keys raw, in the client's case, maybe quoted).
 *
 * No allocation: keys are at most 1,000 bytes, longer ones are not addresses.
 */
#ifndef POSTERN_ADDRESS_H
#define POSTERN_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/result.h"

#define ADDRESS_MAX 1000 /* bytes of a key, and of a folded address; without the NUL */

struct address {
	char typed[ADDRESS_MAX + 1];  /* local part, unquoted, in the case it came in */
	char local[ADDRESS_MAX + 1];  /* the same, folded */
	char domain[ADDRESS_MAX + 1]; /* folded */
	const char *typed_extension;  /* into typed, at the delimiter ("+News"), or NULL */
	size_t base_len;              /* bytes of `local` before the delimiter; all if none */
};

/*
 * True for keys that may be asked about at all: 1 to ADDRESS_MAX bytes of valid UTF-8 without
 * control characters (C0, DEL, C1), no blank at either end.
 */
bool address_key_ok(const char *key, size_t len) MUST_CHECK;

/*
 * Splits KEY at its last unquoted '@', unquotes the local part ("a b"@d, backslash pairs), folds.
 * The extension is what follows the *first* of the characters DELIMITERS ("" or NULL: none) in the
 * local part, unless nothing stands before it. False: KEY is not an address with a local part and
 * a domain (also "@domain", "*", "", "<>", a key that address_key_ok() refuses, a domain with
 * blanks or quotes), and the address is unset.
 */
bool address_parse(struct address *address, const char *key, size_t len,
		   const char *delimiters) MUST_CHECK;

/*
 * A domain name as a key: folded into DOMAIN_R (ADDRESS_MAX + 1 bytes). False unless it is one
 * host name (letters, digits, '-', '_', '.', UTF-8; at most 255 bytes; no leading dot, one
 * trailing dot is cut, no '@', blank, '/', '[', ':', '*').
 */
bool address_domain(char *domain_r, const char *key, size_t len) MUST_CHECK;

/*
 * Unicode simple lower-casing (one code point to one code point) of valid UTF-8 into FOLDED_R of
 * SIZE bytes, NUL-terminated. False if it does not fit or IN is not UTF-8. "Straße" never equals
 * "strasse". Used for comparing only.
 */
bool address_fold(char *folded_r, size_t size, const char *in, size_t len) MUST_CHECK;

/* Equal after folding; false when either cannot be folded. */
bool address_equal(const char *a, const char *b) MUST_CHECK;

/* Appends LOCAL@DOMAIN, quoting the local part where RFC 5321 needs it (dot-atom or UTF-8: not). */
void address_print(struct buf *buf, const char *local, size_t local_len, const char *domain);

#endif
