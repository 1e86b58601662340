/*
 * test_identity - acting as somebody else: one thread, no file rights of the superuser, no way back
 * to it; and the refusals without the right to do so
 *
 * What changes ids does so in a process of its own, which cannot become itself again. Not started
 * as root, the refusal is what is tested.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/folder.h"
#include "common/identity.h"
#include "common/maildir.h"

#define OWNER 4711U
#define ALICE 4712U
#define BOB   4713U

static char top[64];
static struct error err;

static void setup(void)
{
	(void)snprintf(top, sizeof(top), "%s/test_identity.XXXXXX", "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(chmod(top, 0755), 0);
}

static void teardown(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s", top);
	ck_assert_int_eq(system(command), 0);
}

static void assert_child(int (*steps)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(steps());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}

static bool is_root(void)
{
	return geteuid() == 0;
}

static uid_t owner_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_uid : (uid_t)-1;
}

static bool make_home(const char *name, uid_t uid, char *path_r, size_t size)
{
	(void)snprintf(path_r, size, "%s/%s", top, name);
	return mkdir(path_r, 0700) == 0 && chown(path_r, uid, uid) == 0;
}

static enum result deliver(const char *home, struct error *why)
{
	struct maildir_part part = {"x\n", 2};
	char directory[128];
	struct maildir_target target = {.base = top, .directory = directory, .folder = ""};

	(void)snprintf(directory, sizeof(directory), "%s/Maildir", home);
	return maildir_deliver(&target, &part, 1, 2, 3, NULL, NULL, why);
}

/* Files are the account's; another account's folder is closed; the thread's own rights return. */
static int deliver_as_accounts(void)
{
	struct identity alice = {ALICE, ALICE}, bob = {BOB, BOB}, before;
	char home[96], path[128];

	if (identity_keep(OWNER, OWNER, &err) != RESULT_FOUND)
		return 1;
	(void)snprintf(home, sizeof(home), "%s/alice", top);
	if (deliver(home, &err) != RESULT_TEMP || !strstr(err.text, "Permission denied"))
		return 2;
	if (identity_enter(&bob, &before, &err) != RESULT_FOUND ||
	    deliver(home, &err) != RESULT_TEMP)
		return 3;
	identity_leave(&before);
	if (before.uid != OWNER || before.gid != OWNER)
		return 4;
	if (identity_enter(&alice, &before, &err) != RESULT_FOUND ||
	    deliver(home, &err) != RESULT_FOUND)
		return 5;
	(void)snprintf(path, sizeof(path), "%s/Maildir/new", home);
	if (owner_of(path) != ALICE)
		return 6;
	identity_leave(&before);
	(void)snprintf(home, sizeof(home), "%s/owner", top);
	if (deliver(home, &err) != RESULT_FOUND)
		return 7;
	(void)snprintf(path, sizeof(path), "%s/Maildir/new", home);
	return owner_of(path) == OWNER ? 0 : 8;
}

START_TEST(test_accounts)
{
	char home[96];

	if (!is_root()) {
		struct identity other = {ALICE, ALICE}, before;

		ck_assert_int_eq(identity_enter(&other, &before, &err), RESULT_TEMP);
		ck_assert_ptr_nonnull(strstr(err.text, "start as root"));
		return;
	}
	ck_assert(make_home("alice", ALICE, home, sizeof(home)));
	ck_assert(make_home("owner", OWNER, home, sizeof(home)));
	assert_child(deliver_as_accounts);
}
END_TEST

static unsigned permitted(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	memset(data, 0, sizeof(data));
	if (syscall(SYS_capget, &header, data) != 0)
		return ~0U;
	return data[0].permitted | data[0].effective | data[0].inheritable | data[1].permitted;
}

static int keep(void)
{
	gid_t groups[8];
	uid_t real, effective, saved;
	char path[96];

	(void)snprintf(path, sizeof(path), "%s/secret", top);
	if (setgroups(2, (gid_t[]){0, 1}) != 0 || mkdir(path, 0700) != 0 ||
	    identity_keep(OWNER, OWNER, &err) != RESULT_FOUND)
		return 1;
	if (getresuid(&real, &effective, &saved) != 0 || real != OWNER || effective != OWNER ||
	    saved != OWNER || getegid() != OWNER || getgroups(8, groups) != 0)
		return 2;
	if (permitted() != (1U << CAP_SETUID | 1U << CAP_SETGID))
		return 3;
	if (open(path, O_RDONLY) >= 0 || chown(path, OWNER, OWNER) == 0)
		return 4;
	/* Again, as after a reload. */
	return identity_keep(OWNER, OWNER, &err) == RESULT_FOUND ? 0 : 5;
}

START_TEST(test_keep)
{
	if (is_root()) {
		assert_child(keep);
		return;
	}
	ck_assert_int_eq(identity_keep(OWNER, OWNER, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "cannot become uid 4711"));
	ck_assert_int_eq(identity_keep(getuid(), getgid(), &err), RESULT_FOUND);
}
END_TEST

START_TEST(test_never_the_superuser)
{
	ck_assert_int_eq(identity_keep(0, 0, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "superuser"));
}
END_TEST

/* Without capabilities: nobody else, but oneself. */
static int enter_without_rights(void)
{
	struct identity self = {OWNER, OWNER}, other = {ALICE, OWNER}, group = {OWNER, ALICE};
	struct identity nobody = {(uid_t)-1, (gid_t)-1}, before;

	if (is_root()) {
		if (setgroups(0, NULL) != 0 || setresgid(OWNER, OWNER, OWNER) != 0 ||
		    setresuid(OWNER, OWNER, OWNER) != 0)
			return 1;
	} else {
		self = (struct identity){geteuid(), getegid()};
		other = (struct identity){ALICE, getegid()};
		group = (struct identity){geteuid(), ALICE};
	}
	if (identity_enter(&other, &before, &err) != RESULT_TEMP || before.uid != self.uid)
		return 2;
	if (identity_enter(&group, &before, &err) != RESULT_TEMP || before.gid != self.gid)
		return 3;
	if (identity_enter(&nobody, &before, &err) != RESULT_TEMP)
		return 4;
	if (identity_enter(&self, &before, &err) != RESULT_FOUND)
		return 5;
	identity_leave(&before);
	return identity_keep(self.uid, self.gid, &err) == RESULT_FOUND && permitted() == 0 ? 0 : 6;
}

START_TEST(test_without_rights)
{
	assert_child(enter_without_rights);
}
END_TEST

/* Ids that cannot be given back end the process. */
static int leave_for_another(void)
{
	struct identity stranger = {ALICE, ALICE};
	struct rlimit none = {0, 0};

	(void)setrlimit(RLIMIT_CORE, &none);
	if (is_root() &&
	    (setresgid(OWNER, OWNER, OWNER) != 0 || setresuid(OWNER, OWNER, OWNER) != 0))
		return 1;
	identity_leave(&stranger);
	return 2;
}

START_TEST(test_abort)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(leave_for_another());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGABRT);
}
END_TEST

static pthread_barrier_t entered, looked;

/* The file-system ids of this thread. */
static struct identity now(void)
{
	return (struct identity){(uid_t)syscall(SYS_setfsuid, (uid_t)-1),
				 (gid_t)syscall(SYS_setfsgid, (gid_t)-1)};
}

static void *act(void *data)
{
	struct identity before;
	struct error why;
	enum result result = identity_enter(data, &before, &why);

	(void)pthread_barrier_wait(&entered);
	(void)pthread_barrier_wait(&looked);
	if (result == RESULT_FOUND)
		identity_leave(&before);
	return result == RESULT_FOUND ? data : NULL;
}

static int only_one_thread(void)
{
	struct identity wanted = {ALICE, ALICE}, mine = now();
	pthread_t thread;
	void *done;

	if (!is_root())
		wanted = mine;
	if (pthread_barrier_init(&entered, NULL, 2) != 0 ||
	    pthread_barrier_init(&looked, NULL, 2) != 0 ||
	    pthread_create(&thread, NULL, act, &wanted) != 0)
		return 1;
	(void)pthread_barrier_wait(&entered);
	if (now().uid != mine.uid || now().gid != mine.gid)
		return 2;
	(void)pthread_barrier_wait(&looked);
	return pthread_join(thread, &done) == 0 && done ? 0 : 3;
}

START_TEST(test_one_thread)
{
	assert_child(only_one_thread);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("identity");
	TCase *tests = tcase_create("identity");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, test_accounts);
	tcase_add_test(tests, test_keep);
	tcase_add_test(tests, test_never_the_superuser);
	tcase_add_test(tests, test_without_rights);
	tcase_add_test(tests, test_abort);
	tcase_add_test(tests, test_one_thread);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
