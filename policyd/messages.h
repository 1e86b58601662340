/*
 * The messages that clients are sending just now, by Postfix's `instance` attribute: was this one
 * charged already, and to whom does it go?
 *
 * Postfix sends a request again when a connection breaks, and may ask at DATA and again at
 * END-OF-MESSAGE: one message is charged once. At RCPT the recipients come one by one, at DATA a
 * message to several has none, so they are collected here for limits by recipient.
 * Not thread-safe: the caller locks. Entries are forgotten after an hour without a request, or
 * when there are too many (the one used longest ago first).
 */
#ifndef POSTERN_POLICYD_MESSAGES_H
#define POSTERN_POLICYD_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

struct messages;

struct message {
	bool charged;
	int64_t charged_recipients; /* how many it had then */
	struct buf recipients;      /* folded, each ended by '\n', each once */
	size_t recipient_count;
};

#define MESSAGES_KEPT_MS        3600000 /* longer than any retry, and than most bodies take */
#define MESSAGES_RECIPIENTS_MAX 1000    /* Postfix's own default limit a message */

/* At most MAX > 0 messages. NULL when out of memory. */
struct messages *messages_new(size_t max) MUST_CHECK;
void messages_free(struct messages **messages);
/*
 * The message of INSTANCE, sent by the mail host HOST (an instance is unique on one host only);
 * made when absent and CREATE. NULL: absent, an empty instance, or out of memory. Valid until the
 * next call.
 */
struct message *messages_get(struct messages *messages, const char *host, const char *instance,
			     size_t instance_len, bool create, int64_t now_ms);
/* Adds a folded recipient unless it is there, or there are MESSAGES_RECIPIENTS_MAX. */
void message_add_recipient(struct message *message, const char *recipient);
size_t messages_count(const struct messages *messages);

#endif
