/*
 * test_serve_wait - requests that are put aside: woken, timed out, drained, and under load
 *
 * "N sleep" waits for "N wake" of another connection, or for 300 ms; one that waits keeps no
 * worker, and there are only two.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/deadline.h"
#include "common/io.h"
#include "common/serve.h"

#define WAIT_MS  20000
#define SLEEP_MS 300
#define BEDS     64
#define THREADS  8
#define ROUNDS   300

static struct bed {
	struct connection *sleeper;
	bool woken;
} beds[BEDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the beds */
static _Atomic int asleep, spurious;

static char folder[64];
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static struct endpoint *endpoints;
static size_t endpoint_count;
static struct serve *serve;

/* 0: go on waiting; else what ended it. */
static const char *sleep_in(struct bed *bed, struct connection *connection)
{
	const char *end = NULL;

	pthread_mutex_lock(&lock);
	if (!bed->sleeper) {
		bed->sleeper = connection;
		bed->woken = false;
		connection->wait_until = deadline_in(SLEEP_MS);
		asleep++;
	} else if (bed->woken) {
		end = "woken";
	} else if (deadline_passed(connection->wait_until)) {
		end = "slept in";
	} else {
		spurious++;
	}
	if (end) {
		bed->sleeper = NULL;
		asleep--;
	}
	pthread_mutex_unlock(&lock);
	return end;
}

static const char *wake(struct bed *bed)
{
	const char *done = "nobody";

	pthread_mutex_lock(&lock);
	if (bed->sleeper && !bed->woken) {
		bed->woken = true;
		serve_wake(bed->sleeper);
		done = "done";
	}
	pthread_mutex_unlock(&lock);
	return done;
}

static enum serve_next handle(struct connection *connection, void *state, void *worker)
{
	struct buf *in = &connection->in;
	char word[16];
	unsigned number;
	const char *newline, *reply;

	(void)state;
	(void)worker;
	while (in->len > 0 && (newline = memchr(in->data, '\n', in->len)) != NULL) {
		if (sscanf(in->data, "%u %15s", &number, word) != 2 || number >= BEDS)
			return SERVE_CLOSE;
		if (strcmp(word, "sleep") == 0)
			reply = sleep_in(&beds[number], connection);
		else
			reply = strcmp(word, "wake") == 0 ? wake(&beds[number]) : word;
		if (!reply)
			return SERVE_WAIT;
		buf_consume(in, (size_t)(newline + 1 - in->data));
		if (io_write(connection->fd, reply, strlen(reply) + 1, deadline_in(WAIT_MS)) !=
		    IO_OK)
			return SERVE_CLOSE;
	}
	return SERVE_PARK;
}

static const struct service service = {.name = "sleep", .handle = handle, .input_max = 1000};

static void setup(void)
{
	const struct endpoint_mode mode = {.mode = 0600};
	struct error err = {""};
	struct serve_config config = {.service = &service, .workers = 2, .max_connections = 200};

	strcpy(folder, "/tmp/test_serve_wait.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", folder);
	ck_assert_int_eq(endpoint_parse(address.sun_path, &endpoints, &endpoint_count, &err),
			 RESULT_FOUND);
	ck_assert_int_eq(endpoint_listen(&endpoints[0], &mode, &err), RESULT_FOUND);
	config.endpoints = endpoints;
	config.endpoint_count = endpoint_count;
	ck_assert_int_eq(serve_start(&config, &serve, &err), RESULT_FOUND);
}

static void teardown(void)
{
	serve_stop(&serve, 0);
	endpoint_free(&endpoints, endpoint_count, true);
	ck_assert_int_eq(rmdir(folder), 0);
}

static int dial(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void put(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* A reply, up to its NUL. False: none came. */
static bool get(int fd, char *reply, size_t size)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	for (size_t len = 0; len < size; len++) {
		if (poll(&poller, 1, WAIT_MS) != 1 || read(fd, reply + len, 1) != 1)
			return false;
		if (reply[len] == '\0')
			return true;
	}
	return false;
}

static void assert_reply(int fd, const char *expected)
{
	char reply[32];

	ck_assert(get(fd, reply, sizeof(reply)));
	ck_assert_str_eq(reply, expected);
}

static void wait_asleep(int count)
{
	struct deadline end = deadline_in(WAIT_MS);

	while (asleep != count && !deadline_passed(end))
		poll(NULL, 0, 1);
	ck_assert_int_eq(asleep, count);
}

START_TEST(sleepers_keep_no_worker)
{
	int fds[10], other = dial();
	char line[64];

	for (int i = 0; i < 10; i++) {
		fds[i] = dial();
		snprintf(line, sizeof(line), "%d sleep\n%d after\n", i, i);
		put(fds[i], line);
	}
	wait_asleep(10);
	put(other, "0 hello\n");
	assert_reply(other, "hello");
	for (int i = 9; i >= 0; i--) {
		snprintf(line, sizeof(line), "%d wake\n", i);
		put(other, line);
		assert_reply(other, "done");
		assert_reply(fds[i], "woken");
		assert_reply(fds[i], "after");
	}
	for (int i = 0; i < 10; i++)
		close(fds[i]);
	close(other);
}
END_TEST

START_TEST(sleep_ends_in_time)
{
	int fd = dial(), other = dial();
	int64_t start = deadline_now_ms();

	put(fd, "1 sleep\n");
	assert_reply(fd, "slept in");
	ck_assert_int_ge(deadline_now_ms() - start, SLEEP_MS);
	ck_assert_int_lt(deadline_now_ms() - start, SLEEP_MS + 2000);
	put(other, "1 wake\n");
	assert_reply(other, "nobody");
	/* Again on the same connection. */
	put(fd, "1 sleep\n");
	wait_asleep(1);
	put(other, "1 wake\n");
	assert_reply(fd, "woken");
	close(fd);
	close(other);
}
END_TEST

/* The client is gone, or reads nothing: neither keeps the sleeper from being woken. */
START_TEST(sleepers_without_a_client)
{
	int gone = dial(), deaf = dial(), other = dial();

	put(gone, "2 sleep\n");
	put(deaf, "3 sleep\n");
	wait_asleep(2);
	close(gone);
	shutdown(deaf, SHUT_RD);
	put(other, "2 wake\n3 wake\n");
	assert_reply(other, "done");
	assert_reply(other, "done");
	wait_asleep(0);
	close(deaf);
	close(other);
}
END_TEST

START_TEST(drain_lets_sleepers_end)
{
	int fd = dial();

	put(fd, "4 sleep\n");
	wait_asleep(1);
	serve_drain(serve, WAIT_MS);
	ck_assert_uint_eq(serve_connections(serve), 0);
	assert_reply(fd, "slept in");
	close(fd);
}
END_TEST

static _Atomic int wrong;

/* Half of the threads sleep in a bed of their own, the others wake them. */
static void *sleeper_main(void *argument)
{
	unsigned bed = *(unsigned *)argument;
	char line[64], reply[32];
	int fd = dial();

	snprintf(line, sizeof(line), "%u sleep\n", bed);
	for (int i = 0; i < ROUNDS; i++) {
		put(fd, line);
		if (!get(fd, reply, sizeof(reply)) ||
		    (strcmp(reply, "woken") != 0 && strcmp(reply, "slept in") != 0))
			wrong++;
	}
	close(fd);
	return NULL;
}

static _Atomic bool over;

static void *waker_main(void *argument)
{
	unsigned bed = *(unsigned *)argument;
	char line[64], reply[32];
	int fd = dial();

	snprintf(line, sizeof(line), "%u wake\n", bed);
	while (!over) {
		put(fd, line);
		if (!get(fd, reply, sizeof(reply)))
			wrong++;
	}
	close(fd);
	return NULL;
}

START_TEST(under_load)
{
	pthread_t sleepers[THREADS], wakers[THREADS];
	unsigned numbers[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		numbers[i] = i;
		ck_assert_int_eq(pthread_create(&sleepers[i], NULL, sleeper_main, &numbers[i]), 0);
		ck_assert_int_eq(pthread_create(&wakers[i], NULL, waker_main, &numbers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(sleepers[i], NULL);
	over = true;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(wakers[i], NULL);
	ck_assert_int_eq(wrong, 0);
	ck_assert_int_eq(asleep, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("serve_wait");
	TCase *tests = tcase_create("serve_wait");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, sleepers_keep_no_worker);
	tcase_add_test(tests, sleep_ends_in_time);
	tcase_add_test(tests, sleepers_without_a_client);
	tcase_add_test(tests, drain_lets_sleepers_end);
	tcase_add_test(tests, under_load);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
