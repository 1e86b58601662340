/*
 * NAME
 *	policy - Postfix's SMTPD policy delegation protocol, answered
 *
 * DESCRIPTION
 *	name=value lines up to an empty line in, "action=..." and an empty line out; any number of
 *	requests a connection, one at a time. Every state gets an answer. We never write unasked
 *	and never close first: Postfix takes both for a lost connection and pays a second for it.
 *
 *	RCPT: limits that are used up refuse early; a full mailbox is refused.
 *	DATA, END-OF-MESSAGE: the limits are charged.
 *	Everything else: DUNNO.
 *
 *	What cannot be parsed gets no reply: we log and close, and Postfix uses its default_action.
 *	A database that is away stops nothing: limits do not need it, and the quota question is
 *	answered DUNNO (delivery asks again, and holds the mail then).
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "policyd/policy.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/accounts.h"
#include "common/io.h"
#include "common/log.h"
#include "common/metrics.h"
#include "policyd/limit.h"
#include "policyd/mailbox_quota.h"

#define REPLY_TIMEOUT_MS 10000
#define RECIPIENTS_MAX   1000000

struct policy {
	const struct settings *settings;
	struct schema *schema; /* NULL: nothing asks the database */
	struct limits *limits;
};

enum state { CONNECT, EHLO, HELO, MAIL, RCPT, DATA, END_OF_MESSAGE, VRFY, ETRN, OTHER };
static const char *const state_names[] = {
	[CONNECT] = "CONNECT", [EHLO] = "EHLO", [HELO] = "HELO",
	[MAIL] = "MAIL",       [RCPT] = "RCPT", [DATA] = "DATA",
	[VRFY] = "VRFY",       [ETRN] = "ETRN", [END_OF_MESSAGE] = "END-OF-MESSAGE",
};

#define REQUESTS(state)                                                                            \
	{                                                                                          \
		.name = "postern_policy_requests_total", .labels = "state=\"" state "\"",          \
		.help = "Policy requests by protocol state.", .type = "counter"                    \
	}
static struct metric requests_total[] = {
	[CONNECT] = REQUESTS("connect"),
	[EHLO] = REQUESTS("ehlo"),
	[HELO] = REQUESTS("helo"),
	[MAIL] = REQUESTS("mail"),
	[RCPT] = REQUESTS("rcpt"),
	[DATA] = REQUESTS("data"),
	[END_OF_MESSAGE] = REQUESTS("end-of-message"),
	[VRFY] = REQUESTS("vrfy"),
	[ETRN] = REQUESTS("etrn"),
	[OTHER] = REQUESTS("other"),
};

/* One for each (rule, action) seen; made once, for the life of the process. */
struct decision_metric {
	struct metric metric;
	struct decision_metric *next;
	char labels[];
};
static pthread_mutex_t decision_lock = PTHREAD_MUTEX_INITIALIZER;
static struct decision_metric *decisions;

static struct log_limit database_log = {.interval_ms = 10000};

static void append_label(struct buf *labels, const char *value)
{
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			buf_putc(labels, '\\');
		buf_putc(labels, *value == '\n' ? ' ' : *value);
	}
}

static struct decision_metric *decision_metric_make(const char *labels)
{
	struct decision_metric *made = calloc(1, sizeof(*made) + strlen(labels) + 1);

	if (!made)
		return NULL;
	strcpy(made->labels, labels);
	made->metric.name = "postern_policy_decisions_total";
	made->metric.labels = made->labels;
	made->metric.help = "Policy decisions by the rule that made them (none: no rule).";
	made->metric.type = "counter";
	made->next = decisions;
	decisions = made;
	metrics_register(&made->metric);
	return made;
}

/* RULE comes from the configuration, so the set of labels is closed. */
static void count_decision(const char *rule, const char *action)
{
	struct buf labels = BUF_INIT;
	struct decision_metric *found = NULL;

	buf_puts(&labels, "rule=\"");
	append_label(&labels, rule);
	buf_printf(&labels, "\",action=\"%s\"", action);
	if (buf_ok(&labels)) {
		pthread_mutex_lock(&decision_lock);
		for (found = decisions; found; found = found->next)
			if (strcmp(found->labels, labels.data) == 0)
				break;
		if (!found)
			found = decision_metric_make(labels.data);
		pthread_mutex_unlock(&decision_lock);
	}
	if (found)
		metric_add(&found->metric, 1);
	buf_free(&labels);
}

static void metrics_open(void)
{
	for (size_t i = 0; i < sizeof(requests_total) / sizeof(*requests_total); i++)
		metrics_register(&requests_total[i]);
}

enum result policy_open(const struct settings *settings, struct policy **policy_r,
			struct error *err)
{
	static pthread_once_t metrics_once = PTHREAD_ONCE_INIT;
	struct policy *policy = calloc(1, sizeof(*policy));
	enum result result = RESULT_FOUND;

	*policy_r = NULL;
	if (!policy)
		return result_error(err, RESULT_TEMP, "out of memory");
	pthread_once(&metrics_once, metrics_open);
	policy->settings = settings;
	if (settings->policy.mailbox_quota)
		result = schema_load(settings->schema.preset, &policy->schema, err);
	if (result == RESULT_FOUND)
		result = limits_open(settings, &policy->limits, err);
	if (result != RESULT_FOUND) {
		policy_free(&policy);
		return result;
	}
	*policy_r = policy;
	return RESULT_FOUND;
}

void policy_free(struct policy **policy)
{
	if (!*policy)
		return;
	limits_free(&(*policy)->limits);
	schema_free(&(*policy)->schema);
	free(*policy);
	*policy = NULL;
}

enum result policy_check(const struct policy *policy, struct error *err)
{
	return policy->schema ? accounts_try(policy->settings, policy->schema, err) : RESULT_FOUND;
}

static enum state request_state(const struct policy_request *request)
{
	const struct slice *name = &request->protocol_state;

	for (size_t i = 0; i < sizeof(state_names) / sizeof(*state_names); i++)
		if (name->len == strlen(state_names[i]) &&
		    memcmp(name->data, state_names[i], name->len) == 0)
			return (enum state)i;
	return OTHER;
}

/* Decimal digits up to MAX; anything else is FALLBACK. */
static int64_t slice_number(struct slice text, int64_t max, int64_t fallback)
{
	int64_t value = 0;

	if (text.len == 0 || text.len > 18)
		return fallback;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return fallback;
		value = value * 10 + (text.data[i] - '0');
	}
	return value <= max ? value : max;
}

/* PEER without its port: a repeated request comes over a new connection. */
static void peer_host(const char *peer, char *host_r, size_t size)
{
	const char *colon = strrchr(peer, ':');
	const size_t len = colon ? (size_t)(colon - peer) : strlen(peer);

	memcpy(host_r, peer, len < size ? len : size - 1);
	host_r[len < size ? len : size - 1] = '\0';
}

static void log_request(const char *what, const struct policy_request *request)
{
	log_info("decision %s state=%.*s queue_id=%.*s instance=%.*s client=%.*s login=<%.*s> "
		 "sender=<%.*s> recipient=<%.*s>",
		 what, (int)request->protocol_state.len, request->protocol_state.data,
		 (int)request->queue_id.len, request->queue_id.data, (int)request->instance.len,
		 request->instance.data, (int)request->client_address.len,
		 request->client_address.data, (int)request->sasl_username.len,
		 request->sasl_username.data, (int)request->sender.len, request->sender.data,
		 (int)request->recipient.len, request->recipient.data);
}

/* True: a limit stops it, and ACTION is set. */
static bool decide_limits(struct policy *policy, const struct policy_request *request,
			  enum state state, const char *peer, int64_t now_ms, struct buf *action)
{
	char host[64];
	const struct limit_request question = {
		.stage = state == RCPT ? LIMIT_PEEK : LIMIT_CHARGE,
		.host = host,
		.instance = request->instance,
		.sasl_username = request->sasl_username,
		.sender = request->sender,
		.recipient = request->recipient,
		.client_address = request->client_address,
		.recipients = slice_number(request->recipient_count, RECIPIENTS_MAX, 1) > 0
				      ? slice_number(request->recipient_count, RECIPIENTS_MAX, 1)
				      : 1,
	};
	struct limit_hit hit;
	struct buf what = BUF_INIT;
	enum limit_action answer;

	peer_host(peer, host, sizeof(host));
	answer = limits_decide(policy->limits, &question, now_ms, &hit);
	if (answer == LIMIT_PASS)
		return false;
	count_decision(hit.name, limit_action_name(answer));
	buf_printf(&what, "rule=%s action=%s key=<%s> level=%" PRId64 "/%" PRId64 " count=%s",
		   hit.name, limit_action_name(answer), hit.key, hit.level, hit.max, hit.counting);
	log_request(buf_str(&what), request);
	buf_free(&what);
	if (answer == LIMIT_WARN)
		return false;
	limit_hit_reply(&hit, action);
	return true;
}

/* True: the mailbox is full, and ACTION is set. */
static bool decide_quota(struct policy *policy, struct accounts *accounts,
			 const struct policy_request *request, struct buf *action)
{
	struct error err = {""};
	struct mailbox_quota quota;
	struct buf what = BUF_INIT;
	enum result result;

	if (!policy->schema || request->recipient.len == 0)
		return false;
	if (!accounts)
		result = result_error(&err, RESULT_TEMP, "no database handle");
	else
		result = mailbox_quota_check(
			accounts, policy->settings, request->recipient.data, request->recipient.len,
			slice_number(request->size, INT64_MAX, 0), &quota, &err);
	if (result == RESULT_TEMP || result == RESULT_PERM) {
		count_decision("mailbox_quota", result_name(result));
		log_limited(&database_log, LOG_LEVEL_WARNING,
			    "quota not checked, mail passes rule=mailbox_quota result=%s "
			    "queue_id=%.*s instance=%.*s recipient=<%.*s> reason=<%s>",
			    result_name(result), (int)request->queue_id.len, request->queue_id.data,
			    (int)request->instance.len, request->instance.data,
			    (int)request->recipient.len, request->recipient.data, err.text);
	}
	if (result != RESULT_FOUND)
		return false;
	count_decision("mailbox_quota", "reject");
	buf_printf(&what,
		   "rule=mailbox_quota action=reject key=<%s> level=%" PRId64 "/%" PRId64
		   " messages=%" PRId64 "/%" PRId64 " size=%.*s",
		   quota.mailbox, quota.used.bytes, quota.limit_bytes, quota.used.messages,
		   quota.limit_messages, (int)request->size.len, request->size.data);
	log_request(buf_str(&what), request);
	buf_free(&what);
	buf_puts(action, "552 5.2.2 Mailbox is full");
	return true;
}

void policy_decide(struct policy *policy, struct accounts *accounts,
		   const struct policy_request *request, const char *peer, int64_t now_ms,
		   struct buf *action)
{
	const enum state state = request_state(request);

	metric_add(&requests_total[state], 1);
	if (state == RCPT || state == DATA || state == END_OF_MESSAGE)
		if (decide_limits(policy, request, state, peer, now_ms, action))
			return;
	if (state == RCPT && decide_quota(policy, accounts, request, action))
		return;
	count_decision("none", "dunno");
	buf_puts(action, "DUNNO");
}

/* False: nothing sensible can be said any more; close. */
static bool answer_one(struct connection *connection, struct policy *policy,
		       struct accounts *accounts, const struct policy_request *request)
{
	struct buf action = BUF_INIT, reply = BUF_INIT;
	enum io_result written = IO_FAILED;

	policy_decide(policy, accounts, request, connection->peer, deadline_now_ms(), &action);
	if (buf_ok(&action))
		policy_reply_append(&reply, buf_str(&action));
	if (!buf_ok(&action) || !buf_ok(&reply)) {
		log_error("out of memory: no reply peer=%s", connection->peer);
	} else {
		written = io_write(connection->fd, reply.data, reply.len,
				   deadline_in(REPLY_TIMEOUT_MS));
		if (written != IO_OK)
			log_warning("reply not sent peer=%s reason=%s", connection->peer,
				    io_result_name(written));
	}
	buf_free(&action);
	buf_free(&reply);
	return written == IO_OK;
}

static enum serve_next handle(struct connection *connection, void *state, void *worker)
{
	struct policy_request request;
	size_t used;

	for (;;) {
		const char *data = buf_str(&connection->in);

		switch (policy_request_parse(data, connection->in.len, &request, &used)) {
		case PARSE_MORE:
			return SERVE_PARK;
		case PARSE_BAD:
			log_warning("not a policy request, closed without reply peer=%s",
				    connection->peer);
			return SERVE_CLOSE;
		case PARSE_OK:
			break;
		}
		if (!answer_one(connection, state, worker, &request))
			return SERVE_CLOSE;
		buf_consume(&connection->in, used);
	}
}

static enum result worker_open(void *state, void **worker_r, struct error *err)
{
	const struct policy *policy = state;
	struct accounts *accounts = NULL;
	enum result result = RESULT_FOUND;

	if (policy->schema)
		result = accounts_open(policy->settings, policy->schema, &accounts, err);
	*worker_r = accounts;
	return result;
}

static void worker_close(void *worker)
{
	struct accounts *accounts = worker;

	accounts_free(&accounts);
}

const struct service policy_service = {
	.name = "policyd",
	.worker_open = worker_open,
	.worker_close = worker_close,
	.handle = handle,
	/* Room for one request of full length; more than one is never under way. */
	.input_max = POLICY_REQUEST_MAX + 1,
};
