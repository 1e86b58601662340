/*
 * identity - act as the owner of a mailbox for a few system calls
 *
 * The raw system calls, since the C library's setresuid() and capset() wrappers change or know of
 * all threads, and setfsuid() is the one that is meant for a single thread. It reports no error:
 * whether it took effect is asked by a second call with an id that nobody has.
 *
 * A thread whose file-system user is not the superuser has no capability over files, so that the
 * kernel judges every path as that user's own.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/identity.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 32-bit machines have a second pair of calls for 32-bit ids. */
#ifdef SYS_setfsuid32
#define CALL_SETFSUID SYS_setfsuid32
#define CALL_SETFSGID SYS_setfsgid32
#else
#define CALL_SETFSUID SYS_setfsuid
#define CALL_SETFSGID SYS_setfsgid
#endif

#define KEPT ((1U << CAP_SETUID) | (1U << CAP_SETGID))

static uid_t current_uid(void)
{
	return (uid_t)syscall(CALL_SETFSUID, (uid_t)-1);
}

static gid_t current_gid(void)
{
	return (gid_t)syscall(CALL_SETFSGID, (gid_t)-1);
}

/* The group first: it may need a right that goes with the user. */
static bool change_to(const struct identity *wanted)
{
	if (current_gid() != wanted->gid)
		(void)syscall(CALL_SETFSGID, wanted->gid);
	if (current_uid() != wanted->uid)
		(void)syscall(CALL_SETFSUID, wanted->uid);
	return current_gid() == wanted->gid && current_uid() == wanted->uid;
}

enum result identity_enter(const struct identity *wanted, struct identity *before_r,
			   struct error *err)
{
	*before_r = (struct identity){.uid = current_uid(), .gid = current_gid()};
	if (wanted->uid != (uid_t)-1 && wanted->gid != (gid_t)-1 && change_to(wanted))
		return RESULT_FOUND;
	identity_leave(before_r);
	return result_error(err, RESULT_TEMP,
			    "cannot act as uid %lu, gid %lu: start as root, or set [mail] identity "
			    "to \"owner\"",
			    (unsigned long)wanted->uid, (unsigned long)wanted->gid);
}

void identity_leave(const struct identity *before)
{
	if (!change_to(before))
		abort();
}

/* Every other capability goes; those of KEPT that the process does not have stay away. */
static bool keep_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	memset(data, 0, sizeof(data));
	if (syscall(SYS_capget, &header, data) != 0)
		return false;
	data[0].permitted &= KEPT;
	data[0].effective = data[0].permitted;
	data[0].inheritable = 0;
	data[1] = (struct __user_cap_data_struct){0};
	return syscall(SYS_capset, &header, data) == 0;
}

static bool has_become(uid_t uid, gid_t gid)
{
	uid_t real_uid, effective_uid, saved_uid;
	gid_t real_gid, effective_gid, saved_gid;

	return getresuid(&real_uid, &effective_uid, &saved_uid) == 0 &&
	       getresgid(&real_gid, &effective_gid, &saved_gid) == 0 && real_uid == uid &&
	       effective_uid == uid && saved_uid == uid && real_gid == gid &&
	       effective_gid == gid && saved_gid == gid;
}

enum result identity_keep(uid_t uid, gid_t gid, struct error *err)
{
	bool changed;

	if (uid == 0)
		return result_error(err, RESULT_PERM,
				    "the superuser cannot own the mail; name another account");
	if (has_become(uid, gid)) {
		if (keep_capabilities())
			return RESULT_FOUND;
		return result_error(err, RESULT_TEMP, "capabilities cannot be dropped: %s",
				    strerror(errno));
	}
	if (geteuid() != 0)
		return result_error(err, RESULT_PERM,
				    "cannot become uid %lu, gid %lu: start as root or as that user",
				    (unsigned long)uid, (unsigned long)gid);
	changed = prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && setgroups(0, NULL) == 0 &&
		  setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0 &&
		  keep_capabilities() && prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0;
	if (!changed || !has_become(uid, gid))
		return result_error(err, RESULT_TEMP, "cannot become uid %lu, gid %lu: %s",
				    (unsigned long)uid, (unsigned long)gid, strerror(errno));
	return RESULT_FOUND;
}
