/*
 * Who sent a message that came from pipe(8), and to whom: from the command line, and from what
 * pipe(8) puts on top of the message (flags F and R).
 */
#ifndef POSTERN_LMTP_AGENT_ENVELOPE_H
#define POSTERN_LMTP_AGENT_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/result.h"
#include "common/settings.h"

/*
 * Appends SENDER as Return-Path has it. pipe(8) gives it unquoted, and "MAILER-DAEMON" for the null
 * sender unless null_sender is set. False: it cannot stand in a header.
 */
bool agent_sender(struct buf *out, const char *sender) MUST_CHECK;
/* Appends the address in FIELD, a field Return-Path of LEN bytes. */
void agent_return_path(struct buf *out, const char *field, size_t len);
/*
 * The bytes of a first line "From SENDER DATE" (mbox) in the first LEN bytes of a message, 0 for
 * none; SENDER is appended to OUT. An ordinary field "From:" never is one.
 */
size_t agent_from_line(struct buf *out, const char *message, size_t len);

/* Appends ADDRESS in full. False: ERR says why that cannot be. Out of memory: ask buf_ok(OUT). */
bool agent_recipient(struct buf *out, const struct settings *settings, const char *address,
		     struct error *err) MUST_CHECK;

#endif
