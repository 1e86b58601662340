/*
 * Postfix's policy questions to answers: limits (limit.h) and full mailboxes (mailbox_quota.h)
 * behind the engine's service interface (serve.h).
 */
#ifndef POSTERN_POLICYD_POLICY_H
#define POSTERN_POLICYD_POLICY_H

#include "common/accounts.h"
#include "common/policy_attrs.h"
#include "common/serve.h"
#include "common/settings.h"

struct policy; /* one configuration; shared by all workers */

/* SETTINGS must outlive the policy. The database need not be there. */
enum result policy_open(const struct settings *settings, struct policy **policy_r,
			struct error *err) MUST_CHECK;
void policy_free(struct policy **policy);
/* A round trip to the database, if anything needs one. */
enum result policy_check(const struct policy *policy, struct error *err) MUST_CHECK;

/*
 * Appends the action for one request: "DUNNO", or a refusal. Never "OK", which would skip the
 * restrictions after ours. PEER is the connection's name ("unix", "127.0.0.1:4711"). ACCOUNTS may
 * be NULL (no database: what needs one is DUNNO). Logs every decision that is not a plain DUNNO.
 */
void policy_decide(struct policy *policy, struct accounts *accounts,
		   const struct policy_request *request, const char *peer, int64_t now_ms,
		   struct buf *action);

/* State: struct policy; worker: struct accounts, NULL when nothing needs the database. */
extern const struct service policy_service;

#endif
