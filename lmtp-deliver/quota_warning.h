/*
 * Mail that warns a user whose mailbox is filling up, at the percentages of [quota] warn.
 */
#ifndef POSTERN_LMTP_QUOTA_WARNING_H
#define POSTERN_LMTP_QUOTA_WARNING_H

#include <stdint.h>

#include "common/accounts.h"
#include "common/maildir.h"
#include "common/quota.h"
#include "common/settings.h"

/*
 * After a delivery into the Maildir of TARGET that added BYTES and MESSAGES to BEFORE: when the
 * usage crossed a percentage, puts one warning into the INBOX, for the highest one crossed. It
 * is not subject to the quota, but counts. The caller acts as the owner of the mailbox and holds
 * no quota_entry. Never fails; what goes wrong is logged.
 */
void quota_warning_note(const struct settings *settings, const struct mailbox *mailbox,
			const struct maildir_target *target, const struct quota *before,
			int64_t bytes, int64_t messages);

/* Registers the metrics; once, before threads. */
void quota_warning_metrics(void);

#endif
