/*
 * quota_rules - what counts against a mailbox's limits
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "common/quota_rules.h"

struct quota_rules quota_rules_of(const struct settings *settings, const struct mailbox *mailbox)
{
	return (struct quota_rules){
		.limit_bytes = mailbox->quota_bytes > 0 ? mailbox->quota_bytes : 0,
		.limit_messages = mailbox->quota_messages > 0 ? mailbox->quota_messages : 0,
		.skip_trash = strcmp(settings->quota.trash, "skip") == 0,
		/* What is published must be known. */
		.always = settings->quota.publish,
		.lock_timeout_ms = settings->quota.lock_timeout,
	};
}

bool quota_rules_count(const struct quota_rules *rules, const char *folder)
{
	return !rules->skip_trash || strcmp(folder, ".Trash") != 0;
}
