/*
 * test_endpoint - parsing, listening, modes, stale and busy sockets, inherited descriptors
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/endpoint.h"
#include "common/owner.h"

static char folder[64], path[80];
static const struct endpoint_mode plain = {.mode = 0620};

static void setup(void)
{
	strcpy(folder, "/tmp/test_endpoint.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/s", folder);
}

static void teardown(void)
{
	unlink(path);
	rmdir(folder);
}

static int dial_unix(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

START_TEST(test_parse)
{
	struct endpoint *endpoints;
	size_t count;
	struct error err;
	ck_assert_int_eq(endpoint_parse("", &endpoints, &count, &err), RESULT_FOUND);
	ck_assert_uint_eq(count, 0);
	ck_assert_ptr_null(endpoints);
	ck_assert_int_eq(
		endpoint_parse(" /run/x  localhost:25\t[::1]:0 ", &endpoints, &count, &err),
		RESULT_FOUND);
	ck_assert_uint_eq(count, 3);
	ck_assert(endpoints[0].is_unix && !endpoints[1].is_unix && !endpoints[2].is_unix);
	ck_assert_str_eq(endpoints[2].name, "[::1]:0");
	ck_assert_int_eq(endpoints[1].fd, -1);
	endpoint_free(&endpoints, count, true);
	ck_assert_ptr_null(endpoints);

	static const char *const bad[] = {
		"relative",
		"host",
		"host:",
		":25",
		"host:65536",
		"host:-1",
		"host:1x",
		"::1:25",
		"[::1]",
		"[::1]25",
		"[]:25",
		"/a /a",
		"host:99999999999999999999",
		("/0123456789012345678901234567890123456789012345678901234567890123456789012345678"
		 "9012345678901234567890123456789"),
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(endpoint_parse(bad[i], &endpoints, &count, &err) == RESULT_PERM, "%s",
			      bad[i]);
		ck_assert_ptr_null(endpoints);
		ck_assert_uint_eq(count, 0);
	}
}
END_TEST

START_TEST(test_unix)
{
	struct endpoint *endpoints;
	size_t count;
	struct error err = {""};
	struct stat st;
	char name[64];
	umask(0);
	ck_assert_int_eq(endpoint_parse(path, &endpoints, &count, &err), RESULT_FOUND);
	ck_assert_msg(endpoint_listen(&endpoints[0], &plain, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0620);
	ck_assert_int_ne(fcntl(endpoints[0].fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(endpoints[0].fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(endpoint_port(&endpoints[0]), -1);
	int client = dial_unix();
	ck_assert_int_ge(client, 0);
	int server = accept(endpoints[0].fd, NULL, NULL);
	endpoint_peer_name(server, name, sizeof(name));
	ck_assert_str_eq(name, "unix");
	close(server);
	close(client);
	endpoint_free(&endpoints, count, true);
	ck_assert_int_ne(stat(path, &st), 0);
}
END_TEST

START_TEST(test_stale_and_busy)
{
	struct endpoint *first, *second;
	size_t count;
	struct error err = {""};
	ck_assert_int_eq(endpoint_parse(path, &first, &count, &err), RESULT_FOUND);
	ck_assert_int_eq(endpoint_listen(&first[0], &plain, &err), RESULT_FOUND);
	ck_assert_int_eq(endpoint_parse(path, &second, &count, &err), RESULT_FOUND);
	ck_assert_int_eq(endpoint_listen(&second[0], &plain, &err), RESULT_TEMP);
	ck_assert_ptr_nonnull(strstr(err.text, "in use"));
	ck_assert_int_eq(second[0].fd, -1);
	/* The failed one must not take the file along. */
	endpoint_free(&second, count, true);
	int client = dial_unix();
	ck_assert_int_ge(client, 0);
	close(client);
	/* As after a crash: the file is there, nobody listens. */
	endpoint_free(&first, count, false);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(dial_unix(), -1);
	ck_assert_int_eq(endpoint_parse(path, &first, &count, &err), RESULT_FOUND);
	ck_assert_int_eq(endpoint_listen(&first[0], &plain, &err), RESULT_FOUND);
	endpoint_free(&first, count, true);
}
END_TEST

START_TEST(test_refused)
{
	struct endpoint *endpoints;
	size_t count;
	struct error err = {""};
	struct stat st;
	char missing[100];
	/* A file that is no socket stays. */
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(endpoint_parse(path, &endpoints, &count, &err), RESULT_FOUND);
	ck_assert_int_eq(endpoint_listen(&endpoints[0], &plain, &err), RESULT_PERM);
	endpoint_free(&endpoints, count, true);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert(S_ISREG(st.st_mode));
	unlink(path);

	snprintf(missing, sizeof(missing), "%s/none/s", folder);
	ck_assert_int_eq(endpoint_parse(missing, &endpoints, &count, &err), RESULT_FOUND);
	ck_assert_int_eq(endpoint_listen(&endpoints[0], &plain, &err), RESULT_PERM);
	*strrchr(missing, '/') = '\0';
	ck_assert_ptr_nonnull(strstr(err.text, missing));
	endpoint_free(&endpoints, count, true);

	const struct endpoint_mode nobody = {.mode = 0600, .group = "no-such-group-here"};
	ck_assert_int_eq(endpoint_parse(path, &endpoints, &count, &err), RESULT_FOUND);
	ck_assert_int_eq(endpoint_listen(&endpoints[0], &nobody, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "no-such-group-here"));
	ck_assert_int_ne(stat(path, &st), 0);
	endpoint_free(&endpoints, count, true);
}
END_TEST

START_TEST(test_owner)
{
	struct endpoint *endpoints;
	size_t count;
	struct error err = {""};
	struct stat st;
	char user[20], group[20];
	uid_t uid;
	gid_t gid;
	ck_assert_int_eq(owner_user("root", &uid, &gid, &err), RESULT_FOUND);
	ck_assert_uint_eq(uid, 0);
	ck_assert_int_eq(owner_user("54321", &uid, &gid, &err), RESULT_FOUND);
	ck_assert_uint_eq(uid, 54321);
	ck_assert_uint_eq(gid, 54321);
	ck_assert_int_eq(owner_user("no-such-user-here", &uid, &gid, &err), RESULT_PERM);
	ck_assert_int_eq(owner_user("4294967295", &uid, &gid, &err), RESULT_PERM);
	ck_assert_int_eq(owner_user("-1", &uid, &gid, &err), RESULT_PERM);
	ck_assert_int_eq(owner_group("12345", &gid, &err), RESULT_FOUND);
	ck_assert_uint_eq(gid, 12345);
	/* Numbers, and as root such as have no entry. */
	bool root = geteuid() == 0;
	snprintf(user, sizeof(user), "%u", root ? 54321 : geteuid());
	snprintf(group, sizeof(group), "%u", root ? 12345 : getegid());
	const struct endpoint_mode mode = {.mode = 0660, .owner = user, .group = group};
	ck_assert_int_eq(endpoint_parse(path, &endpoints, &count, &err), RESULT_FOUND);
	ck_assert_msg(endpoint_listen(&endpoints[0], &mode, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_uid, (uid_t)atoi(user));
	ck_assert_uint_eq(st.st_gid, (gid_t)atoi(group));
	endpoint_free(&endpoints, count, true);
}
END_TEST

START_TEST(test_tcp)
{
	struct endpoint *endpoints, *again;
	size_t count;
	struct error err = {""};
	char name[64], expected[64];
	ck_assert_int_eq(endpoint_parse("127.0.0.1:0", &endpoints, &count, &err), RESULT_FOUND);
	ck_assert_msg(endpoint_listen(&endpoints[0], &plain, &err) == RESULT_FOUND, "%s", err.text);
	int port = endpoint_port(&endpoints[0]);
	ck_assert_int_gt(port, 0);
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int client = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	socklen_t len = sizeof(address);
	ck_assert_int_eq(getsockname(client, (struct sockaddr *)&address, &len), 0);
	int server = accept(endpoints[0].fd, NULL, NULL);
	endpoint_peer_name(server, name, sizeof(name));
	snprintf(expected, sizeof(expected), "127.0.0.1:%u", ntohs(address.sin_port));
	ck_assert_str_eq(name, expected);
	close(client);
	close(server);
	snprintf(name, sizeof(name), "127.0.0.1:%d", port);
	ck_assert_int_eq(endpoint_parse(name, &again, &count, &err), RESULT_FOUND);
	ck_assert_int_eq(endpoint_listen(&again[0], &plain, &err), RESULT_TEMP);
	ck_assert_ptr_nonnull(strstr(err.text, "in use"));
	endpoint_free(&again, 1, true);
	endpoint_free(&endpoints, 1, true);
	endpoint_peer_name(0, name, sizeof(name));
	ck_assert_str_eq(name, "unknown");
}
END_TEST

/* The service manager's sockets begin at descriptor 3, so this needs a process of its own. */
static int inherit_in_child(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct endpoint *endpoints;
	size_t count;
	struct error err = {""};
	char number[20], list[200];
	struct stat st;
	strcpy(address.sun_path, path);
	int other = socket(AF_INET, SOCK_DGRAM, 0);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 5) != 0 ||
	    dup2(fd, 100) != 100 || dup2(other, 3) != 3 || dup2(100, 4) != 4)
		return 1;
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	setenv("LISTEN_FDS", "2", 1);
	snprintf(list, sizeof(list), "%s 127.0.0.1:0", path);
	if (endpoint_parse(list, &endpoints, &count, &err) != RESULT_FOUND ||
	    endpoint_listen(&endpoints[0], &plain, &err) != RESULT_FOUND ||
	    endpoint_listen(&endpoints[1], &plain, &err) != RESULT_FOUND)
		return 2;
	if (endpoints[0].fd != 4 || !endpoints[0].inherited || endpoints[1].inherited ||
	    fcntl(4, F_GETFD) != FD_CLOEXEC || !(fcntl(4, F_GETFL) & O_NONBLOCK))
		return 3;
	/* The file is the service manager's: it stays. */
	endpoint_free(&endpoints, count, true);
	if (stat(path, &st) != 0)
		return 4;
	/* Meant for another process. */
	setenv("LISTEN_PID", "1", 1);
	close(fd);
	close(100);
	if (endpoint_parse(path, &endpoints, &count, &err) != RESULT_FOUND ||
	    endpoint_listen(&endpoints[0], &plain, &err) != RESULT_FOUND || endpoints[0].inherited)
		return 5;
	endpoint_free(&endpoints, count, true);
	return 0;
}

START_TEST(test_inherited)
{
	int status;
	pid_t child = fork();
	if (child == 0)
		_exit(inherit_in_child());
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("endpoint");
	TCase *tcase = tcase_create("endpoint");
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_parse);
	tcase_add_test(tcase, test_unix);
	tcase_add_test(tcase, test_stale_and_busy);
	tcase_add_test(tcase, test_refused);
	tcase_add_test(tcase, test_owner);
	tcase_add_test(tcase, test_tcp);
	tcase_add_test(tcase, test_inherited);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
