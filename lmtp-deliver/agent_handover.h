/*
 * The agent's message handed over to the LMTP server of the same configuration, by its Unix socket:
 * the server has its database open, and shares its syncs with others.
 */
#ifndef POSTERN_LMTP_AGENT_HANDOVER_H
#define POSTERN_LMTP_AGENT_HANDOVER_H

#include <stdbool.h>
#include <sys/types.h>

#include "lmtp-deliver/agent_options.h"

/*
 * Takes the message from standard input. True: *STATUS_R is the exit status, and it was said why.
 * False: nothing was handed over, standard input has all of the message, and it has to be delivered
 * without the server. PARENT is the caller, with whom we die (agent_die_with_parent()).
 */
bool agent_hand_over(const struct agent_options *options, pid_t parent, int *status_r) MUST_CHECK;

#endif
