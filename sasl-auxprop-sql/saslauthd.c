/*
 * The saslauthd protocol.
 *
 * One request a connection: user, password, service, realm, each a 16-bit big-endian length and
 * that many bytes. Later clients append a fifth string, the client's address: it is used when it
 * came along, and never waited for. Reply: a length and "OK" or "NO"; a length of 0, with which
 * libsasl gives the login a temporary failure, when the answer is not known. Closing without a
 * reply would do the same, but costs smtpd a descriptor each time.
 *
 * libsasl splits a login at its last '@' into user and realm; they are joined again here. It waits
 * for ever, so a request is answered within the time-outs of the database.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "sasl-auxprop-sql/saslauthd.h"

#include "common/io.h"
#include "common/secret.h"
#include "sasl-auxprop-sql/verdict.h"

#define REPLY_TIMEOUT_MS 5000

static enum parse string_parse(const char *data, size_t len, size_t *offset,
			       struct saslauthd_string *string_r)
{
	size_t left = len - *offset;
	size_t size;

	if (left < 2)
		return PARSE_MORE;
	size = (size_t)(unsigned char)data[*offset] << 8 | (unsigned char)data[*offset + 1];
	if (size > SASLAUTHD_STRING_MAX)
		return PARSE_BAD;
	if (left - 2 < size)
		return PARSE_MORE;
	*string_r = (struct saslauthd_string){data + *offset + 2, size};
	*offset += 2 + size;
	return PARSE_OK;
}

enum parse saslauthd_parse(const char *data, size_t len, struct saslauthd_request *request_r,
			   size_t *used_r)
{
	struct saslauthd_string *strings[] = {&request_r->user, &request_r->password,
					      &request_r->service, &request_r->realm};
	size_t offset = 0;

	*request_r = (struct saslauthd_request){0};
	*used_r = 0;
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		enum parse parse = string_parse(data, len, &offset, strings[i]);

		if (parse != PARSE_OK)
			return parse;
	}
	(void)string_parse(data, len, &offset, &request_r->client);
	*used_r = offset;
	return PARSE_OK;
}

static enum result request_answer(const struct authd *authd, struct accounts *accounts,
				  const struct saslauthd_request *request)
{
	struct buf login = BUF_INIT, account = BUF_INIT;
	struct verdict_question question = {
		.protocol = VERDICT_SASLAUTHD,
		.service = request->service.data,
		.service_len = request->service.len,
		.password = request->password.data,
		.password_len = request->password.len,
		.client = request->client.len > 0 ? request->client.data : NULL,
		.client_len = request->client.len,
	};
	enum result result = RESULT_TEMP;

	buf_append(&login, request->user.data, request->user.len);
	if (request->realm.len > 0) {
		buf_putc(&login, '@');
		buf_append(&login, request->realm.data, request->realm.len);
	}
	if (buf_ok(&login)) {
		question.login = buf_str(&login);
		/* An empty user is no login, whatever its realm. */
		question.login_len = request->user.len > 0 ? login.len : 0;
		result = verdict(authd, accounts, &question, &account);
	}
	buf_free(&login);
	buf_free(&account);
	return result;
}

static void reply_send(int fd, enum result result)
{
	static const char ok[] = {0, 2, 'O', 'K'};
	static const char no[] = {0, 2, 'N', 'O'};
	static const char temporary[] = {0, 0};
	const char *reply = result == RESULT_FOUND ? ok : result == RESULT_NONE ? no : temporary;
	size_t len = reply == temporary ? sizeof(temporary) : sizeof(ok);

	/* A client that went away needs no reply. */
	if (io_write(fd, reply, len, deadline_in(REPLY_TIMEOUT_MS)) != IO_OK)
		return;
}

static enum serve_next saslauthd_handle(struct connection *connection, void *state, void *worker)
{
	struct saslauthd_request request;
	size_t used;

	connection->in.wipe = true;
	switch (saslauthd_parse(connection->in.data, connection->in.len, &request, &used)) {
	case PARSE_MORE:
		return SERVE_PARK;
	case PARSE_BAD:
		verdict_refused(VERDICT_SASLAUTHD, "a string is too long");
		reply_send(connection->fd, RESULT_NONE);
		break;
	case PARSE_OK:
		reply_send(connection->fd, request_answer(state, worker, &request));
		break;
	}
	secret_wipe(connection->in.data, connection->in.len);
	return SERVE_CLOSE;
}

const struct service saslauthd_service = {
	.name = "saslauthd",
	.worker_open = verdict_worker_open,
	.worker_close = verdict_worker_close,
	.handle = saslauthd_handle,
	.input_max = SASLAUTHD_INPUT_MAX,
};
