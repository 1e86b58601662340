/*
 * Messages to the service manager on NOTIFY_SOCKET (sd_notify's protocol, own 40 lines): READY=1,
 * RELOADING=1 with MONOTONIC_USEC, STOPPING=1, STATUS=text. Without the variable, nothing happens.
 */
#ifndef POSTERN_NOTIFY_H
#define POSTERN_NOTIFY_H

#include "common/result.h"

/* TEXT is one or more lines. Failure is logged once, never fatal. */
void notify_send(const char *text);
void notify_reloading(void);

#endif
