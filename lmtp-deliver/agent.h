/*
 * The pipe(8) agent: one message, mostly to one recipient; agent_options.h has its command lines.
 *
 * Postfix bounces on every exit status but a few, so there are only four: 0 the message is durable,
 * 67 no such mailbox, 77 refused (full, disabled, too big), 75 everything else. With the last three
 * standard output begins with an enhanced status code, which Postfix prefers to the exit status.
 *
 * Several recipients have one exit status. So nothing is stored unless all of them can be found,
 * and it is 75 unless all of them got the same.
 */
#ifndef POSTERN_LMTP_AGENT_H
#define POSTERN_LMTP_AGENT_H

#include "common/result.h"

/* Returns the exit code. */
int agent_main(int argc, char **argv) MUST_CHECK;

#endif
