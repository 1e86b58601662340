/*
 * One file for one recipient of a message, step by step; the steps of several copies are taken in
 * turn by delivery_store.c, so that they share their syncs.
 */
#ifndef POSTERN_LMTP_DELIVERY_COPY_H
#define POSTERN_LMTP_DELIVERY_COPY_H

#include "common/folder.h"
#include "common/maildir.h"
#include "common/quota.h"
#include "lmtp-deliver/delivery.h"

struct copy {
	size_t index; /* of the recipient, for the caller */
	const struct recipient *recipient;
	const char *folder; /* "": INBOX */
	struct maildir_file file;
	struct quota usage; /* before it, if the mailbox has a quota */
	bool counted;       /* the quota holds it */
	bool full;          /* refused: over quota */
};

/* What all copies of a message have in common. */
struct copy_source {
	const struct settings *settings;
	const struct envelope *envelope;
	const struct message *message;
	struct folder_rules rules;
};

/* Writes it where nobody sees it, unless its mailbox is full already. */
void copy_write(struct copy *copy, const struct copy_source *source);
/* After maildir_sync(): makes it visible, under the lock of its mailbox's quota. */
void copy_link(struct copy *copy, const struct copy_source *source);
/* After maildir_settle(): a name that did not become durable was taken away again, so the quota
 * must not count it. */
void copy_settled(struct copy *copy, const struct copy_source *source);
/* Of a copy that is there: warns a user whose mailbox fills up. */
void copy_warn(const struct copy *copy, const struct copy_source *source);

#endif
