/*
 * Courier's authdaemond protocol, as libsasl (pwcheck_method: authdaemond) and Courier's own
 * clients speak it.
 *
 *   [TCPREMOTEIP=address LF] AUTH n LF, then n bytes: service LF type LF user LF password LF
 *
 * Type "login" is served. Reply: ADDRESS=account LF "." LF, or FAIL LF, and the connection is
 * closed, which libsasl waits for. When the answer is not known it is closed without a reply: a
 * temporary failure to libsasl. Every other command (PRE, PASSWD, ENUMERATE) and type is FAIL.
 *
 * Known gap: without PRE, programs that want home and Maildir (Courier-IMAP, maildrop) cannot use
 * this server.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "sasl-auxprop-sql/authdaemond.h"

#include <string.h>

#include "common/io.h"
#include "common/secret.h"
#include "sasl-auxprop-sql/verdict.h"

#define REPLY_TIMEOUT_MS 5000
#define COUNT_DIGITS     4

static bool has_prefix(const char *line, size_t len, const char *prefix)
{
	return len >= strlen(prefix) && memcmp(line, prefix, strlen(prefix)) == 0;
}

/* The line at *OFFSET without its LF; moves the offset behind it. */
static enum parse line_parse(const char *data, size_t len, size_t *offset, const char **line_r,
			     size_t *line_len_r)
{
	size_t left = len - *offset;
	const char *line, *end;

	if (left == 0)
		return PARSE_MORE;
	line = data + *offset;
	end = memchr(line, '\n', left);
	if (end == NULL)
		return left > AUTHDAEMOND_LINE_MAX ? PARSE_BAD : PARSE_MORE;
	*line_r = line;
	*line_len_r = (size_t)(end - line);
	*offset += *line_len_r + 1;
	return *line_len_r > AUTHDAEMOND_LINE_MAX ? PARSE_BAD : PARSE_OK;
}

static bool count_parse(const char *text, size_t len, size_t *count_r)
{
	*count_r = 0;
	if (len == 0 || len > COUNT_DIGITS)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		*count_r = *count_r * 10 + (size_t)(text[i] - '0');
	}
	return *count_r > 0 && *count_r <= AUTHDAEMOND_DATA_MAX;
}

/* Exactly four lines that fill DATA. */
static bool fields_parse(const char *data, size_t len, struct authdaemond_request *request)
{
	const char *fields[4];
	size_t lengths[4];

	for (int i = 0; i < 4; i++) {
		const char *end = len > 0 ? memchr(data, '\n', len) : NULL;

		if (end == NULL)
			return false;
		fields[i] = data;
		lengths[i] = (size_t)(end - data);
		len -= lengths[i] + 1;
		data = end + 1;
	}
	request->is_login = lengths[1] == 5 && memcmp(fields[1], "login", 5) == 0;
	request->service = fields[0];
	request->service_len = lengths[0];
	request->user = fields[2];
	request->user_len = lengths[2];
	request->password = fields[3];
	request->password_len = lengths[3];
	return len == 0;
}

enum parse authdaemond_parse(const char *data, size_t len, struct authdaemond_request *request_r,
			     size_t *used_r)
{
	static const char remote[] = "TCPREMOTEIP=", auth[] = "AUTH ";
	const char *line = NULL;
	size_t offset = 0, line_len = 0, count;
	enum parse parse;

	*request_r = (struct authdaemond_request){0};
	*used_r = 0;
	parse = line_parse(data, len, &offset, &line, &line_len);
	if (parse == PARSE_OK && has_prefix(line, line_len, remote)) {
		request_r->client = line + strlen(remote);
		request_r->client_len = line_len - strlen(remote);
		parse = line_parse(data, len, &offset, &line, &line_len);
	}
	if (parse != PARSE_OK)
		return parse;
	if (has_prefix(line, line_len, auth)) {
		if (!count_parse(line + strlen(auth), line_len - strlen(auth), &count))
			return PARSE_BAD;
		if (len - offset < count)
			return PARSE_MORE;
		if (!fields_parse(data + offset, count, request_r))
			return PARSE_BAD;
		offset += count;
	}
	*used_r = offset;
	return PARSE_OK;
}

static void reply_send(int fd, const char *reply, size_t len)
{
	/* A client that went away needs no reply. */
	if (io_write(fd, reply, len, deadline_in(REPLY_TIMEOUT_MS)) != IO_OK)
		return;
}

static void fail_send(int fd)
{
	reply_send(fd, "FAIL\n", 5);
}

static void request_answer(int fd, const struct authd *authd, struct accounts *accounts,
			   const struct authdaemond_request *request)
{
	struct verdict_question question = {
		.protocol = VERDICT_AUTHDAEMOND,
		.service = request->service,
		.service_len = request->service_len,
		.login = request->user,
		.login_len = request->user_len,
		.password = request->password,
		.password_len = request->password_len,
		.client = request->client,
		.client_len = request->client_len,
	};
	struct buf account = BUF_INIT, reply = BUF_INIT;
	enum result result = verdict(authd, accounts, &question, &account);

	if (result == RESULT_FOUND) {
		/* An account's name comes from the database: a line end in it would end ours. */
		if (strchr(buf_str(&account), '\n') == NULL)
			buf_printf(&reply, "ADDRESS=%s\n", buf_str(&account));
		buf_puts(&reply, ".\n");
		if (buf_ok(&reply))
			reply_send(fd, reply.data, reply.len);
	} else if (result == RESULT_NONE) {
		fail_send(fd);
	}
	buf_free(&account);
	buf_free(&reply);
}

static enum serve_next authdaemond_handle(struct connection *connection, void *state, void *worker)
{
	struct authdaemond_request request;
	size_t used;

	connection->in.wipe = true;
	switch (authdaemond_parse(connection->in.data, connection->in.len, &request, &used)) {
	case PARSE_MORE:
		return SERVE_PARK;
	case PARSE_BAD:
		verdict_refused(VERDICT_AUTHDAEMOND, "malformed request");
		fail_send(connection->fd);
		break;
	case PARSE_OK:
		if (request.is_login) {
			request_answer(connection->fd, state, worker, &request);
			break;
		}
		verdict_refused(VERDICT_AUTHDAEMOND, "not a login by password");
		fail_send(connection->fd);
		break;
	}
	secret_wipe(connection->in.data, connection->in.len);
	return SERVE_CLOSE;
}

const struct service authdaemond_service = {
	.name = "authdaemond",
	.worker_open = verdict_worker_open,
	.worker_close = verdict_worker_close,
	.handle = authdaemond_handle,
	.input_max = AUTHDAEMOND_DATA_MAX + 3 * AUTHDAEMOND_LINE_MAX,
};
