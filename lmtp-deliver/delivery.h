/*
 * From a recipient's address to a message on disk: what the LMTP session and the pipe agent share.
 * The answer is an outcome: a reply code, an enhanced status and a text for the peer; the details
 * that are the administrator's business go to the log.
 */
#ifndef POSTERN_LMTP_DELIVERY_H
#define POSTERN_LMTP_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/accounts.h"
#include "common/buf.h"
#include "common/result.h"
#include "common/settings.h"
#include "lmtp-deliver/message.h"

struct outcome {
	unsigned code;      /* 250, 4xx, 5xx */
	const char *status; /* "2.1.5"; a literal */
	struct error text;  /* one line, without code and status */
};
void outcome_set(struct outcome *outcome, unsigned code, const char *status, const char *format,
		 ...) PRINTF_LIKE(4, 5);

struct recipient {
	struct buf address;  /* as it came, unquoted: Delivered-To */
	struct buf original; /* X-Original-To, "" when not known */
	struct mailbox mailbox;
	struct buf directory; /* the Maildir, absolute */
	struct buf folder;    /* the extension without its delimiter, "" for the INBOX */
};
void recipient_free(struct recipient *recipient);

struct envelope {
	const char *sender;   /* as it goes into Return-Path, "" for the null sender */
	int64_t started_ms;   /* deadline_now_ms() at its beginning, for the delay in the log */
	const char *queue_id; /* the client's, from XFORWARD IDENT; "" or NULL when not known */
	const char *received; /* a whole Received field with its line ends, or "" or NULL */
	uint64_t transaction; /* guard_transaction(), or 0: the client's own retries are stored */
};

/*
 * Finds the mailbox of ADDRESS (quoted or not). True: OUTCOME is 250 2.1.5 and RECIPIENT_R is set
 * (recipient_free). False: OUTCOME refuses or defers; it was logged. ACCOUNTS may be NULL (no
 * database handle could be made): 451.
 */
bool delivery_resolve(const struct settings *settings, struct accounts *accounts,
		      const char *address, size_t len, struct recipient *recipient_r,
		      struct outcome *outcome) MUST_CHECK;
/*
 * Stores a finished message for COUNT recipients (delivery_store.c), durably for each whose outcome
 * is 250, and logs a line for each; OUTCOMES has as many. They share their syncs, so whoever must
 * answer one by one gives some at a time, DELIVERY_BATCH at most.
 */
#define DELIVERY_BATCH 50
void delivery_store(const struct settings *settings, const struct envelope *envelope,
		    const struct message *message, const struct recipient *recipients, size_t count,
		    struct outcome *outcomes);
/* Logs and counts an outcome that was decided for a recipient without delivery_store(). */
void delivery_refused(const struct envelope *envelope, const struct message *message,
		      const struct recipient *recipient, const struct outcome *outcome);

/* What is told of a delivery beside its outcome. */
struct delivery_report {
	const char *folder; /* "INBOX", or as the address has it */
	const char *file;   /* below the Maildir; "" */
	uint64_t size;
	int64_t quota_used, quota_limit; /* bytes; limit 0: none */
};
/*
 * Logs and counts an outcome. DETAIL (may be NULL) is what the log says in place of the outcome's
 * own text; REPORT may be NULL: nothing was written.
 */
void delivery_report(const struct envelope *envelope, const struct message *message,
		     const struct recipient *recipient, const struct outcome *outcome,
		     const char *detail, const struct delivery_report *report);

void delivery_store_metrics(void);
/* Registers the metrics of both files; once, before threads. */
void delivery_metrics(void);

#endif
