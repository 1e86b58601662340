/*
 * proc_stat - fields of /proc/PID/stat
 *
 * Hidden from others where /proc is mounted so (hidepid, ProtectProc=).
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/proc_stat.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool proc_stat_field(pid_t pid, int field, int64_t *value_r)
{
	char path[32], stat[1024], *at, *end;
	ssize_t len;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, stat, sizeof(stat) - 1);
	(void)close(fd);
	if (len <= 0)
		return false;
	stat[len] = '\0';
	/* The second, the name in parentheses, may hold anything. */
	at = strrchr(stat, ')');
	for (int i = 2; at != NULL && i < field; i++)
		at = strchr(at + 1, ' ');
	if (at == NULL)
		return false;
	*value_r = strtoll(at + 1, &end, 10);
	return end > at + 1;
}
