/*
 * Publishing the usage of mailboxes in the database ([quota] publish) without delaying delivery:
 * what is noted waits in memory, and a thread writes it every [quota] publish_interval. A process
 * that delivers one message has no such thread: it collects, takes what is there, and writes it.
 */
#ifndef POSTERN_LMTP_USAGE_H
#define POSTERN_LMTP_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/account_usage.h"
#include "common/result.h"
#include "common/schema.h"
#include "common/settings.h"

/*
 * Starts to publish, if the settings say so, in place of those that were started before, which go
 * on when this one is stopped. Settings and schema must live until usage_stop(). PERM: the preset
 * has no place for usage; TEMP.
 */
enum result usage_start(const struct settings *settings, const struct schema *schema,
			struct error *err) MUST_CHECK;
/*
 * The usage of an account (its name as stored) is now this. Never waits for the database; only the
 * latest value of an account is kept. Nothing happens while nobody publishes or collects.
 */
void usage_note(const char *address, int64_t bytes, int64_t messages);
/* Ends what was started with these settings; the last one writes what is left, if it can. */
void usage_stop(const struct settings *settings);

/* In place of usage_start(): from here on what is noted waits for usage_take(). */
void usage_collect(void);
/* Takes what waits longest; the address is the caller's to free. False: nothing, or no memory. */
bool usage_take(struct account_usage *usage_r) MUST_CHECK;

/* Registers the metrics; once, before threads. */
void usage_metrics(void);

#endif
