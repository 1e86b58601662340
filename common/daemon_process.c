/*
 * NAME
 *	daemon_process - log target, account and version of a program
 *
 * DESCRIPTION
 *	The parts of daemon.h that the pipe agent and the admin command use as well.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/daemon.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "common/log.h"
#include "common/owner.h"
#include "common/sql.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

static void log_to_syslog(void *context, enum log_level level, const char *line)
{
	static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	(void)context;
	syslog(priorities[level], "%s", line);
}

void daemon_log_level(const struct settings *settings)
{
	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++)
		if (strcmp(settings->log.level, log_level_name((enum log_level)level)) == 0)
			log_set_level((enum log_level)level);
}

void daemon_log_open(const struct settings *settings, const char *name)
{
	daemon_log_level(settings);
	if (strcmp(settings->log.target, "syslog") == 0) {
		/* At once, while /dev/log can still be reached. */
		openlog(name, LOG_PID | LOG_NDELAY, LOG_MAIL);
		log_set_sink(log_to_syslog, NULL);
	} else {
		log_set_sink(NULL, NULL);
	}
}

/* The supplementary groups of the user in OWNER, which owner_parse() took; a number has none. */
static enum result take_groups(const char *owner, gid_t gid, struct error *err)
{
	char *user = strndup(owner, strcspn(owner, ":"));
	if (user == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	bool is_name = strspn(user, "0123456789") != strlen(user);
	enum result result = RESULT_FOUND;
	if ((is_name ? initgroups(user, gid) : setgroups(1, &gid)) != 0)
		result = result_error(err, RESULT_TEMP, "groups of \"%s\" cannot be taken: %s",
				      owner, strerror(errno));
	free(user);
	return result;
}

enum result daemon_drop_privileges(const char *owner, struct error *err)
{
	uid_t uid, real, effective, saved;
	gid_t gid;
	enum result result = owner_parse(owner, &uid, &gid, err);
	if (result != RESULT_FOUND)
		return result;
	if (uid == 0)
		return result_error(err, RESULT_PERM,
				    "\"%s\" is the superuser; name another account", owner);
	if (getuid() == uid && geteuid() == uid)
		return RESULT_FOUND;
	if (geteuid() != 0)
		return result_error(err, RESULT_PERM,
				    "cannot become \"%s\": start as root or as that user", owner);
	result = take_groups(owner, gid, err);
	if (result != RESULT_FOUND)
		return result;
	if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
		return result_error(err, RESULT_TEMP, "cannot become \"%s\": %s", owner,
				    strerror(errno));
	if (getresuid(&real, &effective, &saved) != 0 || real != uid || effective != uid ||
	    saved != uid || setuid(0) == 0)
		return result_error(err, RESULT_PERM, "cannot become \"%s\" for good", owner);
	return RESULT_FOUND;
}

void daemon_print_version(const char *name)
{
	printf("%s (Postern) %s\ndrivers: %s\n", name, PACKAGE_VERSION, sql_drivers());
}
