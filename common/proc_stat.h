/*
 * What the kernel tells of a process in /proc/PID/stat, proc(5).
 */
#ifndef POSTERN_PROC_STAT_H
#define POSTERN_PROC_STAT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROC_STAT_FLAGS     9  /* PF_* of the kernel */
#define PROC_STAT_PROCESSOR 39 /* on which it ran last */

/* A number, in the field that proc(5) counts so, from the third on. False: not to be seen. */
bool proc_stat_field(pid_t pid, int field, int64_t *value_r);

#endif
