/*
 * agent_input - a message on its way from pipe(8)
 *
 * Line ends stay as they are; pipe(8) makes them LF.
 *
 * Limits: the "From " line is recognised within the first 64 KiB, an ordinary field beginning
 * "From:" never is.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "lmtp-deliver/agent_envelope.h"
#include "lmtp-deliver/agent_input.h"
#include "lmtp-deliver/agent_process.h"

static char bytes[65536];

/*
 * The first bytes, at least a line unless there is none. Returns their number, with those of a
 * leading "From " line in *SKIP_R, or -1.
 */
static ssize_t read_first(int fd, struct buf *from_r, size_t *skip_r)
{
	size_t len = 0;
	const char *line_end = NULL;

	while (!line_end && len < sizeof(bytes)) {
		ssize_t got = agent_read(fd, bytes + len, sizeof(bytes) - len);

		if (got < 0)
			return -1;
		if (got == 0)
			break;
		line_end = memchr(bytes + len, '\n', (size_t)got);
		len += (size_t)got;
	}
	*skip_r = agent_from_line(from_r, bytes, len);
	return (ssize_t)len;
}

static void take(const char *data, size_t len, int64_t max_size, struct message *message,
		 struct outcome *outcome)
{
	struct error err = {0};
	bool no_space = false;

	if (message_add(message, data, len, &no_space, &err) != RESULT_FOUND) {
		log_error("message not taken reason=<%s>", err.text);
		outcome_set(outcome, no_space ? 452 : 451, no_space ? "4.3.1" : "4.3.0",
			    "the message cannot be taken now");
	} else if (max_size > 0 && message->virtual_size > (uint64_t)max_size) {
		outcome_set(outcome, 552, "5.3.4", "the message is too big");
	}
}

bool agent_input_read(int fd, int64_t max_size, struct message *message, struct buf *from_r,
		      struct outcome *outcome)
{
	struct error err = {0};
	size_t skip;
	ssize_t got = read_first(fd, from_r, &skip);

	outcome->code = 0;
	while (got > 0) {
		if (outcome->code == 0)
			take(bytes + skip, (size_t)got - skip, max_size, message, outcome);
		skip = 0;
		got = agent_read(fd, bytes, sizeof(bytes));
	}
	if (got < 0)
		outcome_set(outcome, 451, "4.3.0", "cannot read the message: %s", strerror(errno));
	if (outcome->code == 0 && message_finish(message, &err) != RESULT_FOUND) {
		log_error("message not taken reason=<%s>", err.text);
		outcome_set(outcome, 451, "4.3.0", "the message cannot be taken now");
	}
	return outcome->code == 0;
}
