/*
 * XFORWARD, Postfix's way to tell a server behind it what it knows of a message and its client.
 */
#ifndef POSTERN_LMTP_XFORWARD_H
#define POSTERN_LMTP_XFORWARD_H

#include <stdbool.h>
#include <stddef.h>

#define XFORWARD_ATTRIBUTES "NAME ADDR PROTO HELO SOURCE PORT IDENT"
#define XFORWARD_VALUE_MAX  255

struct xforward {
	char ident[XFORWARD_VALUE_MAX + 1]; /* the client's queue id, "" when not known */
};

/*
 * Takes over the attributes of one command; those of earlier ones stay. False: malformed, or an
 * attribute that is not known; nothing was taken over then.
 */
bool xforward_parse(const char *argument, size_t len, struct xforward *xforward);

#endif
