/*
 * NAME
 *	flush - postern flush ADDRESS | DOMAIN | all
 *
 * DESCRIPTION
 *	Tells each postfix-lookup that listens where the configuration says, on Unix sockets, to
 *	forget its answers. TCP endpoints are left out: they take no such request.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/endpoint.h"
#include "common/io.h"
#include "common/netstring.h"
#include "postern/postern.h"

#define REPLY_MS  10000
#define REPLY_MAX 1000

static enum result dial(const char *path, int *fd_r, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		return result_error(err, RESULT_PERM, "%s: the path is too long", path);
	strcpy(address.sun_path, path);
	*fd_r = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd_r < 0)
		return result_error(err, RESULT_TEMP, "%s: %s", path, strerror(errno));
	if (connect(*fd_r, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return RESULT_FOUND;
	result_error(err, RESULT_TEMP, "%s: postfix-lookup cannot be reached: %s", path,
		     strerror(errno));
	close(*fd_r);
	return RESULT_TEMP;
}

static enum result converse(int fd, const char *key, struct buf *reply, struct error *err)
{
	const struct deadline deadline = deadline_in(REPLY_MS);
	struct buf request = BUF_INIT, line = BUF_INIT;
	enum parse parse = PARSE_MORE;
	const char *payload;
	size_t len, used;
	bool sent;

	buf_printf(&line, "postern.flush %s", key);
	netstring_append(&request, line.data, line.len);
	sent = buf_ok(&line) && buf_ok(&request) &&
	       io_write(fd, request.data, request.len, deadline) == IO_OK;
	buf_free(&line);
	buf_reset(&request);
	while (sent && parse == PARSE_MORE && io_read(fd, &request, REPLY_MAX, deadline) == IO_OK)
		parse = netstring_parse(request.data, request.len, REPLY_MAX, &payload, &len,
					&used);
	if (parse == PARSE_OK)
		buf_append(reply, payload, len);
	buf_free(&request);
	if (parse != PARSE_OK || !buf_ok(reply))
		return result_error(err, RESULT_TEMP, "no reply from postfix-lookup");
	return RESULT_FOUND;
}

/* FOUND: *COUNT_R entries are forgotten. */
static enum result flush_one(const char *path, const char *key, int64_t *count_r, struct error *err)
{
	struct buf reply = BUF_INIT;
	enum result result;
	int fd = -1;

	result = dial(path, &fd, err);
	if (result != RESULT_FOUND)
		return result;
	result = converse(fd, key, &reply, err);
	close(fd);
	if (result == RESULT_FOUND && (strncmp(buf_str(&reply), "OK ", 3) != 0 ||
				       !conf_parse_integer(buf_str(&reply) + 3, count_r)))
		result = result_error(err, RESULT_PERM, "%s", buf_str(&reply));
	if (result != RESULT_FOUND)
		error_prefix(err, "%s", path);
	buf_free(&reply);
	return result;
}

int flush(struct postern *postern, const struct arguments *arguments)
{
	struct output *output = &postern->output;
	struct endpoint *endpoints = NULL;
	struct error err = {""};
	size_t count = 0, asked = 0;
	int code = postern_settings(postern);

	if (code != EX_OK)
		return code;
	if (endpoint_parse(postern->settings.lookup.listen, &endpoints, &count, &err) !=
	    RESULT_FOUND)
		return postern_fail(postern, EX_CONFIG, "[lookup] listen: %s", err.text);
	output->form = OUTPUT_TABLE;
	for (size_t i = 0; i < count; i++) {
		int64_t entries = 0;
		enum result result;

		if (!endpoints[i].is_unix)
			continue;
		asked++;
		result = flush_one(endpoints[i].name, arguments->words[0], &entries, &err);
		if (result != RESULT_FOUND) {
			code = postern_fail(postern,
					    result == RESULT_TEMP ? EX_TEMPFAIL : EX_DATAERR, "%s",
					    err.text);
			continue;
		}
		output_row(output);
		output_text(output, "endpoint", endpoints[i].name);
		output_number(output, "forgotten", entries);
		output_end(output);
	}
	endpoint_free(&endpoints, count, false);
	if (asked == 0)
		return postern_fail(postern, EX_CONFIG,
				    "[lookup] listen names no Unix socket, and TCP takes no flush");
	return code;
}
