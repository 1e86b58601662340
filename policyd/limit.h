/*
 * [limit NAME]: how much may one key send in a window?
 *
 * All limits that match a message are checked, then all are charged or none. A limit with
 * verdict = warn never stops a message, but is charged with it. Charging happens when the number of
 * recipients is known (DATA, or END-OF-MESSAGE when only that is hooked); at RCPT a limit that is
 * used up already refuses early, and nothing is charged.
 *
 * The counters live in the process, not in a configuration: limits_open() on a changed
 * configuration finds those of the limits whose name, key, count and window stayed. Thread-safe.
 */
#ifndef POSTERN_POLICYD_LIMIT_H
#define POSTERN_POLICYD_LIMIT_H

#include <stdint.h>

#include "common/address.h"
#include "common/policy_attrs.h"
#include "common/result.h"
#include "common/settings.h"

struct limits;

enum limit_stage {
	LIMIT_PEEK,   /* RCPT: one more recipient, number not final */
	LIMIT_CHARGE, /* DATA, END-OF-MESSAGE */
};

struct limit_request {
	enum limit_stage stage;
	const char *host;      /* of the Postfix that asks: instances are unique on one host only */
	struct slice instance; /* empty: a repeated request cannot be recognised */
	struct slice sasl_username, sender, recipient, client_address; /* as Postfix sent them */
	int64_t recipients;                                            /* at LIMIT_CHARGE, >= 1 */
};

enum limit_action { LIMIT_PASS, LIMIT_WARN, LIMIT_DEFER, LIMIT_REJECT };

/* One limit that was exceeded. */
struct limit_hit {
	enum limit_action action;    /* never LIMIT_PASS */
	size_t index;                /* of the limit in the settings */
	char key[ADDRESS_MAX + 1];   /* folded */
	int64_t level, max, window;  /* what the usage would have been; the limit; ms */
	const char *name, *counting; /* of the limit; "recipients", "messages"; the settings' */
};

/*
 * SETTINGS must outlive the limits. PERM: a limit makes no sense (the text names it).
 */
enum result limits_open(const struct settings *settings, struct limits **limits_r,
			struct error *err) MUST_CHECK;
void limits_free(struct limits **limits);

/*
 * PASS, or the verdict of the first limit (in the file's order) that stops the message. *HIT_R is
 * that limit; with WARN (the message passes) the first exceeded limit that only warns. A request
 * that was charged before passes again and is not charged. NOW_MS never runs backwards.
 * Out of memory: PASS, logged; mail is not stopped for our troubles.
 */
enum limit_action limits_decide(struct limits *limits, const struct limit_request *request,
				int64_t now_ms, struct limit_hit *hit_r);

/* Appends the reply for a stopped message, "450 4.7.1 ...", to ACTION. */
void limit_hit_reply(const struct limit_hit *hit, struct buf *action);
/* "pass", "warn", "defer", "reject". */
const char *limit_action_name(enum limit_action action);

#endif
