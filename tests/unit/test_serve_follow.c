/*
 * test_serve_follow - a thread moves to the processor of a client that is bound to one and keeps
 * it busy, over a Unix socket and over TCP, and may run everywhere afterwards
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/serve_engine.h"

#define ROUNDS 20

/* The first and the last processor that this process may use; equal when there is only one. */
static void processors(int *first_r, int *last_r)
{
	cpu_set_t all;
	*first_r = *last_r = -1;
	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		if (*first_r < 0)
			*first_r = i;
		*last_r = i;
	}
}

static bool bind_to(int processor)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(processor, &one);
	return sched_setaffinity(0, sizeof(one), &one) == 0;
}

/* A client that sends a byte and then keeps PROCESSOR busy until it is killed. */
static pid_t client_start(const struct sockaddr *address, socklen_t len, int processor)
{
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	int fd = socket(address->sa_family, SOCK_STREAM, 0);
	if (!bind_to(processor) || fd < 0 || connect(fd, address, len) != 0 ||
	    write(fd, "x", 1) != 1)
		_exit(1);
	for (volatile unsigned turns = 0;; turns++)
		;
}

/* How often of ROUNDS the calling thread was moved from AWAY to THERE. */
static int count_moves(const struct client *client, const cpu_set_t *all, int away, int there)
{
	int moves = 0;
	for (int i = 0; i < ROUNDS; i++) {
		cpu_set_t after;
		ck_assert(bind_to(away));
		ck_assert_int_eq(sched_setaffinity(0, sizeof(*all), all), 0);
		serve_follow_now(client);
		moves += sched_getcpu() == there;
		ck_assert_int_eq(sched_getaffinity(0, sizeof(after), &after), 0);
		ck_assert(CPU_EQUAL(&after, all));
	}
	return moves;
}

static void follow_client(int listener, struct sockaddr *address, socklen_t len, bool is_unix)
{
	const struct endpoint endpoint = {.is_unix = is_unix};
	struct client client = {.connection = {.endpoint = &endpoint}};
	cpu_set_t all;
	int away, there;
	char byte;
	processors(&away, &there);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	ck_assert_int_eq(bind(listener, address, len), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, address, &len), 0);
	pid_t pid = client_start(address, len, there);
	client.connection.fd = accept(listener, NULL, NULL);
	ck_assert_int_ge(client.connection.fd, 0);
	ck_assert_int_eq(read(client.connection.fd, &byte, 1), 1);
	int moves = count_moves(&client, &all, away, there);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	/* The kernel may move a thread at any time; a machine with one processor moves nobody. */
	ck_assert_int_ge(moves, ROUNDS / 2);
	/* Nobody there any more: stay, and say nothing. */
	serve_follow_now(&client);
	close(client.connection.fd);
}

START_TEST(test_unix)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char folder[] = "/tmp/test_serve_follow.XXXXXX";
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", folder);
	follow_client(listener, (struct sockaddr *)&address, sizeof(address), true);
	close(listener);
	ck_assert_int_eq(unlink(address.sun_path), 0);
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(test_tcp)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	follow_client(listener, (struct sockaddr *)&address, sizeof(address), false);
	close(listener);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("serve_follow");
	TCase *tcase = tcase_create("serve_follow");
	tcase_add_test(tcase, test_unix);
	tcase_add_test(tcase, test_tcp);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
