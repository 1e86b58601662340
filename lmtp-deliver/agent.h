/*
 * The pipe(8) agent: one message on standard input to one recipient.
 *
 *   lmtp-deliver -c FILE -f SENDER -d RECIPIENT [-a ORIGINAL_RECIPIENT]
 *
 * Postfix bounces on every exit status but a few, so there are only four: 0 the message is durable,
 * 67 no such mailbox, 77 refused (full, disabled, too big), 75 everything else. With the last three
 * standard output begins with an enhanced status code, which Postfix prefers to the exit status.
 */
#ifndef POSTERN_LMTP_AGENT_H
#define POSTERN_LMTP_AGENT_H

#include <stdbool.h>

#include "common/result.h"

/* Whether ARGV calls for the agent (-d, -f or -a) and not for the daemon. */
bool agent_wanted(int argc, char **argv) MUST_CHECK;
/* Returns the exit code. */
int agent_main(int argc, char **argv) MUST_CHECK;

#endif
