/*
 * Messages that were stored, but whose reply the client may not have got: it will send them again.
 * LMTP leaves that window open; for our own memory's time it is closed here. A message is the same
 * if queue id (or Message-ID), size, content and recipient are. Thread-safe.
 */
#ifndef POSTERN_LMTP_GUARD_H
#define POSTERN_LMTP_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "lmtp-deliver/delivery.h"

#define GUARD_KEY_BYTES 32
struct guard_key {
	unsigned char bytes[GUARD_KEY_BYTES];
};

/* A number for a transaction, never 0: equal recipients of one transaction get a copy each. */
uint64_t guard_transaction(void);
void guard_key_make(const struct envelope *envelope, const struct message *message,
		    const struct recipient *recipient, struct guard_key *key_r);
/* Whether another transaction has stored it, and nobody knows that its reply came through. */
bool guard_holds(const struct guard_key *key, uint64_t transaction) MUST_CHECK;
/* It is durable. Kept for TTL_MS unless guard_confirm() comes first. */
void guard_stored(const struct guard_key *key, uint64_t transaction, int64_t ttl_ms);
/* The client has gone on after the replies of this transaction, so it has read them. */
void guard_confirm(uint64_t transaction);
/* Forgets everything; for the end of the program. */
void guard_clear(void);

#endif
