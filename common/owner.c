/*
 * NAME
 *	owner - users and groups by name or number
 *
 * DESCRIPTION
 *	A name that the system does not know is PERM; a user database that cannot be asked (LDAP,
 *	for example) is TEMP.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/owner.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf.h"

#define ENTRY_BYTES_MAX (1024 * 1024)

/* The highest number means "unchanged" to chown(2) and setresuid(2). */
static bool is_number(const char *text, uint32_t *number_r)
{
	int64_t number;
	if (text[0] == '-' || !conf_parse_integer(text, &number) || number >= UINT32_MAX)
		return false;
	*number_r = (uint32_t)number;
	return true;
}

/* An error code of getpwnam_r() and the like that means "no such entry". */
static bool means_absent(int code)
{
	return code == 0 || code == ENOENT || code == ESRCH || code == EBADF || code == EPERM;
}

static int find_user(const char *user, const uint32_t *number, uid_t *uid_r, gid_t *gid_r,
		     bool *found_r)
{
	int code = ERANGE;
	*found_r = false;
	for (size_t size = 4096; code == ERANGE && size <= ENTRY_BYTES_MAX; size *= 4) {
		char *memory = malloc(size);
		struct passwd entry, *found = NULL;
		if (memory == NULL)
			return ENOMEM;
		code = number ? getpwuid_r(*number, &entry, memory, size, &found)
			      : getpwnam_r(user, &entry, memory, size, &found);
		if (found != NULL) {
			*uid_r = entry.pw_uid;
			*gid_r = entry.pw_gid;
			*found_r = true;
		}
		free(memory);
	}
	return code;
}

enum result owner_user(const char *user, uid_t *uid_r, gid_t *gid_r, struct error *err)
{
	uint32_t number;
	bool numeric = is_number(user, &number), found;
	int code = find_user(user, numeric ? &number : NULL, uid_r, gid_r, &found);
	if (found)
		return RESULT_FOUND;
	if (numeric) {
		*uid_r = number;
		*gid_r = number;
		return RESULT_FOUND;
	}
	if (means_absent(code))
		return result_error(err, RESULT_PERM, "there is no user \"%s\"", user);
	return result_error(err, RESULT_TEMP, "user \"%s\" cannot be looked up: %s", user,
			    strerror(code));
}

enum result owner_group(const char *group, gid_t *gid_r, struct error *err)
{
	uint32_t number;
	if (is_number(group, &number)) {
		*gid_r = number;
		return RESULT_FOUND;
	}
	int code = ERANGE;
	for (size_t size = 4096; code == ERANGE && size <= ENTRY_BYTES_MAX; size *= 4) {
		char *memory = malloc(size);
		struct group entry, *found = NULL;
		if (memory == NULL)
			return result_error(err, RESULT_TEMP, "out of memory");
		code = getgrnam_r(group, &entry, memory, size, &found);
		if (found != NULL)
			*gid_r = entry.gr_gid;
		free(memory);
		if (found != NULL)
			return RESULT_FOUND;
	}
	if (means_absent(code))
		return result_error(err, RESULT_PERM, "there is no group \"%s\"", group);
	return result_error(err, RESULT_TEMP, "group \"%s\" cannot be looked up: %s", group,
			    strerror(code));
}

enum result owner_parse(const char *owner, uid_t *uid_r, gid_t *gid_r, struct error *err)
{
	size_t len = strcspn(owner, ":");
	const char *group = owner[len] == ':' ? owner + len + 1 : NULL;
	if (len == 0 || (group != NULL && *group == '\0'))
		return result_error(err, RESULT_PERM, "\"%s\" is neither USER nor USER:GROUP",
				    owner);
	char *user = strndup(owner, len);
	if (user == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	enum result result = owner_user(user, uid_r, gid_r, err);
	free(user);
	return result == RESULT_FOUND && group != NULL ? owner_group(group, gid_r, err) : result;
}
