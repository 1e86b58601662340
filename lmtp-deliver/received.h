/*
 * The Received field (RFC 5321 section 4.4) of a message that came by LMTP.
 */
#ifndef POSTERN_LMTP_RECEIVED_H
#define POSTERN_LMTP_RECEIVED_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "common/buf.h"

struct received {
	const char *helo; /* what the client calls itself */
	const char *peer; /* "unix" or ADDRESS:PORT */
	const char *hostname;
	const char *id;        /* the client's queue id; "": one of our own is made */
	const char *recipient; /* the only one, or NULL */
	bool smtputf8, tls, authenticated;
	time_t now;
};

/* Appends the field with its line ends (LF). */
void received_make(const struct received *received, struct buf *out);

#endif
