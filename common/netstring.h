/*
 * Netstrings (as Postfix's socketmap client speaks them): a pure parser over bytes.
 */
#ifndef POSTERN_NETSTRING_H
#define POSTERN_NETSTRING_H

#include <stddef.h>

#include "common/buf.h"

enum parse {
	PARSE_OK,   /* complete */
	PARSE_MORE, /* so far good, more bytes needed */
	PARSE_BAD,  /* can never become good; say so and close */
};

/*
 * PARSE_OK: *PAYLOAD_R and *PAYLOAD_LEN_R lie within DATA, *USED_R bytes were consumed. BAD:
 * length over MAX, leading zeros, no digits, wrong terminator; decided at the first wrong byte.
 */
enum parse netstring_parse(const char *data, size_t len, size_t max, const char **payload_r,
			   size_t *payload_len_r, size_t *used_r);
/* The length and the colon; LEN bytes and a comma are to follow. */
void netstring_begin(struct buf *buf, size_t len);
void netstring_append(struct buf *buf, const void *data, size_t len);

#endif
