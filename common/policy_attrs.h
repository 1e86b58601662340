/*
 * Requests of Postfix's SMTPD policy delegation protocol: name=value lines, ended by an empty
 * line. A pure parser over bytes; values split at the first '='; unknown names are skipped, and of
 * a repeated name the first counts. Limits: 64 KiB a request, no NUL.
 */
#ifndef POSTERN_POLICY_ATTRS_H
#define POSTERN_POLICY_ATTRS_H

#include "common/netstring.h"

#define POLICY_REQUEST_MAX 65536

struct slice {
	const char *data; /* not NUL-terminated; "" when absent */
	size_t len;
};

struct policy_request {
	struct slice request, protocol_state, protocol_name, queue_id, sender, recipient,
		client_address, client_name, helo_name, instance, sasl_method, sasl_username, size,
		recipient_count, policy_context, encryption_protocol;
};

/*
 * OK: slices point into DATA; *USED_R bytes were consumed, the empty line included. BAD: a line
 * without '=', NUL, too long. A '\r' before '\n' is taken off.
 */
enum parse policy_request_parse(const char *data, size_t len, struct policy_request *request_r,
				size_t *used_r);
/* "action=TEXT\n\n"; control characters in TEXT become '?'. */
void policy_reply_append(struct buf *buf, const char *action);

#endif
