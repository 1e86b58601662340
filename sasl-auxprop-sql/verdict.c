/*
 * sasl-authd's decision: who asks is told yes, no or "not now" by authenticate().
 *
 * Log: one line per decision, with the reason of a refusal; never a password. Metrics:
 * postern_auth_requests_total by protocol and result.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "sasl-auxprop-sql/verdict.h"

#include <string.h>

#include "common/authenticate.h"
#include "common/log.h"
#include "common/metrics.h"

#define SHOWN_MAX           256 /* bytes of a login or service in a log line */
#define TROUBLE_INTERVAL_MS 10000

enum verdict_count { COUNT_ACCEPTED, COUNT_REFUSED, COUNT_TEMPORARY, COUNT_BAD, COUNTS };

static const char *const protocol_names[VERDICT_PROTOCOLS] = {
	[VERDICT_SASLAUTHD] = "saslauthd",
	[VERDICT_AUTHDAEMOND] = "authdaemond",
};

static struct metric metrics[VERDICT_PROTOCOLS][COUNTS] = {
	[VERDICT_SASLAUTHD] =
		{
			{.labels = "protocol=\"saslauthd\",result=\"accepted\""},
			{.labels = "protocol=\"saslauthd\",result=\"refused\""},
			{.labels = "protocol=\"saslauthd\",result=\"temporary\""},
			{.labels = "protocol=\"saslauthd\",result=\"bad_request\""},
		},
	[VERDICT_AUTHDAEMOND] =
		{
			{.labels = "protocol=\"authdaemond\",result=\"accepted\""},
			{.labels = "protocol=\"authdaemond\",result=\"refused\""},
			{.labels = "protocol=\"authdaemond\",result=\"temporary\""},
			{.labels = "protocol=\"authdaemond\",result=\"bad_request\""},
		},
};

void verdict_metrics_register(void)
{
	for (int protocol = 0; protocol < VERDICT_PROTOCOLS; protocol++) {
		for (int count = 0; count < COUNTS; count++) {
			struct metric *metric = &metrics[protocol][count];

			metric->name = "postern_auth_requests_total";
			metric->help = "Login requests answered by sasl-authd.";
			metric->type = "counter";
			metrics_register(metric);
		}
	}
}

static int shown(size_t len)
{
	return len < SHOWN_MAX ? (int)len : SHOWN_MAX;
}

static enum result verdict_make(const struct authd *authd, struct accounts *accounts,
				const struct verdict_question *question, struct buf *account_r,
				const char **reason_r, struct error *err)
{
	struct buf password = BUF_SECRET;
	enum result result;

	*reason_r = "empty";
	if (question->login_len == 0 || question->password_len == 0)
		return RESULT_NONE;
	*reason_r = "nul_in_password";
	if (memchr(question->password, '\0', question->password_len) != NULL)
		return RESULT_NONE;
	if (accounts == NULL)
		return result_error(err, RESULT_TEMP, "there is no database handle");
	buf_append(&password, question->password, question->password_len);
	if (buf_ok(&password))
		result = authenticate(accounts, authd->settings, question->login,
				      question->login_len, buf_str(&password), account_r, reason_r,
				      NULL, err);
	else
		result = result_error(err, RESULT_TEMP, "out of memory");
	buf_free(&password);
	return result;
}

enum result verdict(const struct authd *authd, struct accounts *accounts,
		    const struct verdict_question *question, struct buf *account_r)
{
	static struct log_limit trouble = {.interval_ms = TROUBLE_INTERVAL_MS};
	const char *protocol = protocol_names[question->protocol];
	struct metric *counts = metrics[question->protocol];
	int client_len = question->client != NULL ? shown(question->client_len) : 1;
	const char *client = question->client != NULL ? question->client : "-";
	const char *reason = "";
	struct error err = {""};
	enum result result = verdict_make(authd, accounts, question, account_r, &reason, &err);

	if (result == RESULT_FOUND) {
		metric_add(&counts[COUNT_ACCEPTED], 1);
		log_info("login accepted protocol=%s service=<%.*s> client=<%.*s> user=<%.*s> "
			 "account=<%s>",
			 protocol, shown(question->service_len), question->service, client_len,
			 client, shown(question->login_len), question->login, buf_str(account_r));
		return RESULT_FOUND;
	}
	if (result == RESULT_NONE) {
		metric_add(&counts[COUNT_REFUSED], 1);
		log_info("login refused protocol=%s service=<%.*s> client=<%.*s> user=<%.*s> "
			 "reason=%s",
			 protocol, shown(question->service_len), question->service, client_len,
			 client, shown(question->login_len), question->login, reason);
		return RESULT_NONE;
	}
	metric_add(&counts[COUNT_TEMPORARY], 1);
	log_limited(&trouble, LOG_LEVEL_ERROR,
		    "login not decided protocol=%s user=<%.*s> result=%s: %s", protocol,
		    shown(question->login_len), question->login, result_name(result), err.text);
	return RESULT_TEMP;
}

void verdict_refused(enum verdict_protocol protocol, const char *why)
{
	metric_add(&metrics[protocol][COUNT_BAD], 1);
	log_info("request refused protocol=%s reason=<%s>", protocol_names[protocol], why);
}

enum result verdict_worker_open(void *state, void **worker_r, struct error *err)
{
	const struct authd *authd = state;
	struct accounts *accounts = NULL;
	enum result result = accounts_open(authd->settings, authd->schema, &accounts, err);

	*worker_r = accounts;
	return result;
}

void verdict_worker_close(void *worker)
{
	struct accounts *accounts = worker;

	accounts_free(&accounts);
}
