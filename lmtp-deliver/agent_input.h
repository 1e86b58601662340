/*
 * The message of the pipe(8) agent: read to its end whatever becomes of it, without what pipe(8)
 * (flags F, R, O, D) and others put in front.
 */
#ifndef POSTERN_LMTP_AGENT_INPUT_H
#define POSTERN_LMTP_AGENT_INPUT_H

#include <stdint.h>

#include "common/buf.h"
#include "lmtp-deliver/delivery.h"
#include "lmtp-deliver/message.h"

/*
 * Reads FD to its end. A first line "From SENDER DATE" (mbox) is left out, and SENDER appended to
 * FROM_R. MAX_SIZE 0: no limit. True: the message is finished. False: OUTCOME says why not, and all
 * was read as far as that is possible.
 */
bool agent_input_read(int fd, int64_t max_size, struct message *message, struct buf *from_r,
		      struct outcome *outcome) MUST_CHECK;

#endif
