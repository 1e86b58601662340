/*
 * The agent as a process that pipe(8) has started: its caller, its signals, its last words.
 *
 * The end of standard input does not prove that the message is complete: if pipe(8) dies, it ends
 * as well. So the agent asks to be killed with its parent, and looks once more before it stores:
 * whether its parent is still the same and not exiting, and whether anybody can read what it would
 * say. Who dies closes its descriptors some time before it counts as dead: its flags in /proc tell
 * that for sure, and nearly always that nobody reads, where /proc is hidden. The latter also sees a
 * parent that died before the first look (init as the parent means nothing, it may be the caller).
 */
#ifndef POSTERN_LMTP_AGENT_PROCESS_H
#define POSTERN_LMTP_AGENT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/result.h"

/* From here on a signal that asks to end says 4.3.2 and exits with 75. */
void agent_catch_signals(void);
/* From here to the exit: what is being stored shall be told as it ends. */
void agent_hold_signals(void);
/* False: PARENT is gone, or nobody could be told. After each change of user, which undoes it. */
bool agent_die_with_parent(pid_t parent) MUST_CHECK;
bool agent_caller_is_gone(pid_t parent) MUST_CHECK;

/* As many bytes as come at once, 0 at the end, -1 with errno. */
ssize_t agent_read(int fd, char *to, size_t room) MUST_CHECK;
/* Reads standard input to its end and forgets it; not from a terminal. */
void agent_drain(void);

/* Says what became of the message, CODE as in replies of LMTP, and returns the exit status. */
int agent_finish(unsigned code, const char *status, const char *text) MUST_CHECK;

#endif
