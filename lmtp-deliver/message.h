/*
 * One message while it is here: the first part in memory, the rest in a file without a name below
 * the mail base, so that memory is bounded and nothing is left behind by a crash.
 */
#ifndef POSTERN_LMTP_MESSAGE_H
#define POSTERN_LMTP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/maildir.h"
#include "common/result.h"

#define MESSAGE_MEMORY_MAX (1024 * 1024) /* bytes kept in memory */
#define MESSAGE_PARTS_MAX  2

/*
 * A quick sum of bytes, to tell messages apart that nobody has made to look alike. Zero-initialise;
 * how the bytes were cut into pieces makes no difference.
 */
#define MESSAGE_SUM_LANES 8
struct message_sum {
	uint64_t lanes[MESSAGE_SUM_LANES];
	char rest[sizeof(uint64_t) * MESSAGE_SUM_LANES]; /* bytes that fill no block yet */
	size_t rest_len;
};

struct message {
	const char *spool;     /* directory of the nameless file: [mail] base; not owned */
	struct buf head;       /* the first MESSAGE_MEMORY_MAX bytes */
	int fd;                /* the bytes behind them, or -1 */
	void *tail;            /* the same, mapped by message_finish() */
	uint64_t size;         /* all bytes */
	uint64_t virtual_size; /* with every LF as CRLF */
	bool last_was_cr;
	struct message_sum sum; /* of all bytes */
	size_t skip;            /* bytes of a Return-Path field at the top, not delivered */
	uint64_t skip_virtual;  /* the same with every LF as CRLF */
	struct buf message_id;  /* of the header, for logs, no <>; "" when there is none */
	int64_t hops;           /* Received fields */
	/* At the top, where Postfix's flags D and O put them; "" when not there. */
	struct buf delivered_to, original_to;
};

/* SPOOL must outlive the message. */
void message_init(struct message *message, const char *spool);
void message_free(struct message *message);
/* Ready for the next one; keeps the memory, which the kernel would hand out page by page. */
void message_reset(struct message *message);
/*
 * Appends. TEMP with a text: no memory, or the file cannot be made or written; *NO_SPACE_R tells
 * ENOSPC and EDQUOT. The message is then useless but for message_free().
 */
enum result message_add(struct message *message, const void *data, size_t len, bool *no_space_r,
			struct error *err) MUST_CHECK;
/* The same by somebody who has counted: VIRTUAL_SIZE bytes when every LF is CRLF. */
enum result message_add_counted(struct message *message, const void *data, size_t len,
				uint64_t virtual_size, bool *no_space_r,
				struct error *err) MUST_CHECK;
/* After the last byte: looks at the header, makes the parts available. */
enum result message_finish(struct message *message, struct error *err) MUST_CHECK;
/*
 * What is to be stored below our own header lines: without the Return-Path field at its top.
 * Returns the number of parts; valid until message_free().
 */
size_t message_parts(const struct message *message, struct maildir_part parts_r[MESSAGE_PARTS_MAX]);
/* Bytes of the parts, as they are and with every LF as CRLF. */
uint64_t message_size(const struct message *message);
uint64_t message_virtual_size(const struct message *message);

#endif
