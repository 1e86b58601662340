/*
 * postern_db_up{host}: what the process knows of each database host. A host stays registered as
 * long as one of the states (two of them during a reload) names it. Thread-safe.
 */
#ifndef POSTERN_HOST_METRICS_H
#define POSTERN_HOST_METRICS_H

#include <stdbool.h>

void host_metric_use(const char *host);
void host_metric_release(const char *host);
/* Not printed before it is known. */
void host_metric_set(const char *host, bool up);

#endif
