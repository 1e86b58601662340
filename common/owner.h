/*
 * Users and groups by name or number. A number needs no entry in the user database, so that
 * containers may run as any uid.
 */
#ifndef POSTERN_OWNER_H
#define POSTERN_OWNER_H

#include <sys/types.h>

#include "common/result.h"

/* GID_R: the user's own group; of a number without an entry, the same number. */
enum result owner_user(const char *user, uid_t *uid_r, gid_t *gid_r, struct error *err) MUST_CHECK;
enum result owner_group(const char *group, gid_t *gid_r, struct error *err) MUST_CHECK;
/* "USER" or "USER:GROUP", as in [mail] owner. */
enum result owner_parse(const char *owner, uid_t *uid_r, gid_t *gid_r,
			struct error *err) MUST_CHECK;

#endif
