/*
 * Transports of addresses that are no mailboxes, such as mailing lists with a program of their own.
 */
#ifndef POSTERN_RESOLVE_TRANSPORT_H
#define POSTERN_RESOLVE_TRANSPORT_H

#include "common/resolve.h"

/*
 * What the preset's query `transport` says of an address, under the keys of a mailbox search,
 * appended to TRANSPORT_R. NONE: no active row with a value, the domain is not (actively) here, or
 * the preset has no such query.
 */
enum result resolve_transport(struct accounts *accounts, const struct settings *settings,
			      const char *address, size_t len, struct buf *transport_r,
			      struct trace *trace, struct error *err) MUST_CHECK;

#endif
