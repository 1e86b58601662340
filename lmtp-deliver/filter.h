/*
 * The seam between finding a mailbox and writing into it: what shall become of this message for
 * this recipient? A Sieve engine comes in here; the present rules only know subaddresses.
 */
#ifndef POSTERN_LMTP_FILTER_H
#define POSTERN_LMTP_FILTER_H

#include "lmtp-deliver/delivery.h"

enum filter_kind {
	FILTER_KEEP,     /* into the INBOX */
	FILTER_FILEINTO, /* into the folder `text`, or the INBOX where there is none */
	FILTER_REJECT,   /* 550 5.7.1 with `text`, instead of everything else */
	FILTER_DISCARD,  /* 250, and nothing is stored; in vain beside a keep or fileinto */
	FILTER_REDIRECT, /* to the address `text`; deferred, as nothing here sends mail yet */
};

struct filter_action {
	enum filter_kind kind;
	const char *text; /* lives as long as message and recipient; "" where it has no meaning */
};

#define FILTER_ACTIONS_MAX 8

struct filter_actions {
	struct filter_action list[FILTER_ACTIONS_MAX];
	size_t count; /* at least 1 */
};

/* FOUND, or TEMP: try again later. */
enum result filter_run(const struct settings *settings, const struct envelope *envelope,
		       const struct message *message, const struct recipient *recipient,
		       struct filter_actions *actions_r, struct error *err) MUST_CHECK;

#endif
