/*
 * NAME
 *	db - postern db init
 *
 * DESCRIPTION
 *	Creates the tables of the preset's own layout. An SQLite file gets mode 0640; a new one made
 *	by root belongs to the owner and group of its folder, which are those of the daemons.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/accounts_edit.h"
#include "postern/postern.h"

#define DATABASE_MODE 0640

/* FD is the new or filled database. */
static int hand_over(const struct postern *postern, int fd, bool is_new)
{
	const char *path = postern->settings.database.path;
	char *copy = strdup(path);
	struct stat folder;

	if (!copy)
		return postern_fail(postern, EX_TEMPFAIL, "out of memory");
	if (is_new && geteuid() == 0 && stat(dirname(copy), &folder) == 0 &&
	    fchown(fd, folder.st_uid, folder.st_gid) != 0) {
		free(copy);
		return postern_fail(postern, EX_OSERR, "%s: cannot change the owner: %s", path,
				    strerror(errno));
	}
	free(copy);
	if (fchmod(fd, DATABASE_MODE) != 0)
		return postern_fail(postern, EX_OSERR, "%s: cannot set mode %o: %s", path,
				    DATABASE_MODE, strerror(errno));
	return EX_OK;
}

static int set_rights(const struct postern *postern, bool is_new)
{
	const char *path = postern->settings.database.path;
	const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int code;

	if (fd < 0)
		return postern_fail(postern, EX_OSERR, "%s: cannot set owner and mode: %s", path,
				    strerror(errno));
	code = hand_over(postern, fd, is_new);
	close(fd);
	return code;
}

int db_init(struct postern *postern, const struct arguments *arguments)
{
	const struct settings *settings = &postern->settings;
	struct error err = {""};
	bool sqlite, is_new;
	int code = postern_schema(postern);
	enum result result;
	mode_t mask;

	(void)arguments;
	if (code != EX_OK)
		return code;
	sqlite = strcmp(settings->database.driver, "sqlite") == 0;
	is_new = sqlite && access(settings->database.path, F_OK) != 0;
	/* Never open to others, not even before the mode is set. */
	mask = umask(0077);
	result = accounts_create_database(settings, postern->schema, &err);
	umask(mask);
	code = postern_result(postern, result, settings->database.path, &err);
	if (code == EX_OK && sqlite)
		code = set_rights(postern, is_new);
	if (code == EX_OK)
		postern_done(postern, "created",
			     sqlite ? settings->database.path : settings->database.name);
	return code;
}
