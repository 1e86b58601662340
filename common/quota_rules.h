/*
 * The rules of quota.h for a mailbox, out of its row and the settings.
 */
#ifndef POSTERN_QUOTA_RULES_H
#define POSTERN_QUOTA_RULES_H

#include "common/accounts.h"
#include "common/quota.h"
#include "common/settings.h"

struct quota_rules quota_rules_of(const struct settings *settings, const struct mailbox *mailbox);
/*
 * Whether a message in FOLDER, a directory name such as ".A.B" or "", counts: under skip_trash
 * those in .Trash do not.
 */
bool quota_rules_count(const struct quota_rules *rules, const char *folder);

#endif
