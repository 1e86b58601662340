/*
 * test_quota_warning - when a warning is put into a mailbox, and what it says
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/quota_count.h"
#include "common/quota_rules.h"
#include "lmtp-deliver/quota_warning.h"

static char base[64], directory[96], text_file[96];
static struct settings settings;
static struct maildir_target target;
static char address[] = "alice@example.com";
static struct mailbox mailbox;
static int errors;

static void sink(void *context, enum log_level level, const char *line)
{
	(void)context;
	if (level <= LOG_LEVEL_WARNING) {
		errors++;
		(void)fprintf(stderr, "%s\n", line);
	}
}

static void setup(void)
{
	struct error err = {""};
	int fd = -1;

	(void)snprintf(base, sizeof(base), "%s/test_quota_warning.XXXXXX", "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(base));
	(void)snprintf(directory, sizeof(directory), "%s/alice", base);
	(void)snprintf(text_file, sizeof(text_file), "%s/warning.txt", base);
	ck_assert_int_eq(settings_load(NULL, &settings, NULL, &err), RESULT_FOUND);
	free(settings.quota.warn);
	settings.quota.warn = strdup("80 90 95");
	mailbox = (struct mailbox){.address = address, .quota_bytes = 100000, .quota_messages = 20};
	target = (struct maildir_target){.base = base, .directory = directory, .folder = "lists"};
	ck_assert_msg(maildir_open(&target, true, &fd, &err) == RESULT_FOUND, "%s", err.text);
	(void)close(fd);
	errors = 0;
}

static void teardown(void)
{
	char command[128];

	settings_free(&settings);
	(void)snprintf(command, sizeof(command), "rm -rf %s", base);
	ck_assert_int_eq(system(command), 0);
}

static void note(int64_t used_bytes, int64_t used_messages, int64_t bytes)
{
	const struct quota before = {.limit_bytes = mailbox.quota_bytes,
				     .limit_messages = mailbox.quota_messages,
				     .used_bytes = used_bytes,
				     .used_messages = used_messages};

	quota_warning_note(&settings, &mailbox, &target, &before, bytes, 1);
}

/* The messages of the INBOX, which are taken away; the last one's text. */
static int warnings(char *text, size_t size)
{
	char path[160];
	struct dirent *entry;
	DIR *dir;
	int count = 0;

	text[0] = '\0';
	(void)snprintf(path, sizeof(path), "%s/new", directory);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir))) {
		ssize_t len;
		int fd;

		if (entry->d_name[0] == '.')
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_RDONLY);
		len = read(fd, text, size - 1);
		ck_assert_int_gt(len, 0);
		text[len] = '\0';
		(void)close(fd);
		ck_assert_int_eq(unlinkat(dirfd(dir), entry->d_name, 0), 0);
		count++;
	}
	(void)closedir(dir);
	return count;
}

static bool has(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

START_TEST(test_crossing)
{
	static const struct {
		int64_t used_bytes, used_messages, bytes;
		const char *subject; /* NULL: none */
	} rows[] = {
		{0, 0, 79999, NULL},
		{0, 0, 80000, "is 80% full"},
		{79999, 0, 1, "is 80% full"},
		{80000, 0, 1, NULL},
		{80000, 0, 10000, "is 90% full"},
		{70000, 0, 29000, "is 95% full"}, /* the highest */
		{99000, 0, 1000, NULL},
		{0, 14, 1, NULL},
		{0, 15, 1, "is 80% full"}, /* 16 of 20 */
		{0, 16, 1, NULL},
		{79999, 17, 1, "is 90% full"},
		{96000, 15, 1, "is 80% full"},
		{-5, 0, 1, NULL},
		{INT64_MAX, 0, 1, NULL},
	};
	char text[8192];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int count;

		note(rows[i].used_bytes, rows[i].used_messages, rows[i].bytes);
		count = warnings(text, sizeof(text));
		ck_assert_msg(count == (rows[i].subject != NULL), "row %zu: %d", i, count);
		if (rows[i].subject)
			ck_assert_msg(has(text, rows[i].subject), "row %zu: %s", i, text);
	}
	ck_assert_int_eq(errors, 0);
	settings.quota.warn[0] = '\0';
	note(0, 0, 99999);
	ck_assert_int_eq(warnings(text, sizeof(text)), 0);
	strcpy(settings.quota.warn, "80");
	mailbox.quota_bytes = mailbox.quota_messages = 0;
	note(0, 0, 99999);
	ck_assert_int_eq(warnings(text, sizeof(text)), 0);
}
END_TEST

START_TEST(test_own_text)
{
	char text[8192];

	note(0, 0, 92160);
	ck_assert_int_eq(warnings(text, sizeof(text)), 1);
	ck_assert_int_eq(strncmp(text,
				 "Return-Path: <>\nDelivered-To: alice@example.com\n"
				 "From: postmaster@example.com\nTo: alice@example.com\n",
				 50),
			 0);
	for (const char *const *part =
		     (const char *const[]){"\nAuto-Submitted: auto-generated\n",
					   "\nPrecedence: bulk\n", "\nDate: ", "\nMessage-ID: <",
					   ".quota@example.com>\n", "\nMIME-Version: 1.0\n",
					   "\nContent-Type: text/plain; charset=utf-8\n",
					   "\nSubject: Your mailbox is 90% full\n\nHello,\n",
					   "alice@example.com is 90% full: it holds 90.0 KiB of "
					   "97.7 KiB.\n",
					   NULL};
	     *part; part++)
		ck_assert_msg(has(text, *part), "%s is not in:\n%s", *part, text);
	ck_assert(!has(text, "{"));
	note(0, 17, 1);
	ck_assert_int_eq(warnings(text, sizeof(text)), 1);
	ck_assert_msg(has(text, "it holds 18 messages of 20 messages."), "%s", text);
}
END_TEST

static void put_text(const char *text, size_t len)
{
	FILE *file = fopen(text_file, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(text, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
	free(settings.quota.warn_text);
	settings.quota.warn_text = strdup(text_file);
}

START_TEST(test_site_text)
{
	static const struct {
		const char *text, *tail;
	} rows[] = {
		{"Subject: {percent}\xc3\xa4\nX-Own: 1\n\nHi {user}\r\n{other} {used}/{limit} {",
		 "Content-Transfer-Encoding: 8bit\nSubject: 80\xc3\xa4\nX-Own: 1\n\n"
		 "Hi alice@example.com\n{other} 80.0 KiB/97.7 KiB {"},
		{"No header.\nTo: nobody\n",
		 "Subject: Your mailbox is filling up\nDate: *\nNo header.\nTo: nobody\n"},
		{"From: x@y\nTo: z@y\nMessage-ID: <1@y>\nContent-Type: text/html\n\n<p>",
		 "Precedence: bulk\nFrom: x@y\nTo: z@y\nMessage-ID: <1@y>\n"
		 "Content-Type: text/html\n\n<p>"},
		{"Subject: only\n folded", "8bit\nSubject: only\n folded\n\n"},
		{"\nbody", "8bit\n\n\nbody"},
	};
	char text[8192];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *tail = strstr(rows[i].tail, "*\n");

		put_text(rows[i].text, strlen(rows[i].text));
		note(0, 0, 81920);
		ck_assert_int_eq(warnings(text, sizeof(text)), 1);
		tail = tail ? tail + 2 : rows[i].tail;
		ck_assert_msg(strlen(text) > strlen(tail) &&
				      strcmp(text + strlen(text) - strlen(tail), tail) == 0,
			      "row %zu:\n%s", i, text);
		ck_assert(has(text, "\n\n"));
		ck_assert(has(text, "Auto-Submitted: "));
		ck_assert(!has(text, "\r"));
	}
	ck_assert_int_eq(errors, 0);
}
END_TEST

/* A text that cannot be used costs a log line, not the warning. */
START_TEST(test_bad_text)
{
	static const struct {
		const char *text;
		size_t len;
	} rows[] = {{"", 0}, {"caf\xe9", 4}, {"a\0b", 3}, {NULL, 0}};
	char text[8192], *big = calloc(1, 65537);

	memset(big, 'x', 65537);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].text)
			put_text(rows[i].text, rows[i].len);
		else
			put_text(big, 65537);
		note(0, 0, 81920);
		ck_assert_int_eq(warnings(text, sizeof(text)), 1);
		ck_assert(has(text, "Subject: Your mailbox is 80% full\n"));
	}
	free(big);
	ck_assert_int_eq(unlink(text_file), 0);
	note(0, 0, 81920);
	ck_assert_int_eq(warnings(text, sizeof(text)), 1);
	ck_assert_int_eq(mkdir(text_file, 0700), 0);
	note(0, 0, 81920);
	ck_assert_int_eq(warnings(text, sizeof(text)), 1);
	ck_assert_int_eq(errors, 1); /* the rest of that minute is counted only */
}
END_TEST

/* Not subject to the quota, but part of the usage. */
START_TEST(test_counts)
{
	const struct quota_rules rules = quota_rules_of(&settings, &mailbox);
	struct quota_entry entry;
	struct quota sum;
	struct timespec newest;
	struct error err = {""};
	int fd = -1;

	mailbox.quota_bytes = 1000; /* no warning fits into that */
	ck_assert_int_eq(maildir_open(&target, false, &fd, &err), RESULT_FOUND);
	note(800, 0, 100);
	ck_assert_int_eq(quota_count(fd, false, &sum, &newest), 0);
	ck_assert_int_eq(sum.used_messages, 1);
	mailbox.quota_bytes = 100000;
	note(89999, 0, 1);
	ck_assert_int_eq(quota_count(fd, false, &sum, &newest), 0);
	ck_assert_int_eq(sum.used_messages, 2);
	ck_assert_int_eq(quota_enter(fd, &rules, 1, &entry, &err), RESULT_FOUND);
	ck_assert_int_eq(entry.quota.used_bytes, sum.used_bytes);
	ck_assert_int_eq(entry.quota.used_messages, 2);
	ck_assert_int_eq(quota_leave(&entry, 0, 0, &err), RESULT_FOUND);
	(void)close(fd);
	ck_assert_int_eq(errors, 0);
}
END_TEST

/* What goes wrong is told and forgotten. */
START_TEST(test_no_mailbox)
{
	target.base = "/nonexistent";
	note(0, 0, 81920);
	ck_assert_int_eq(errors, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("quota_warning");
	TCase *tests = tcase_create("quota_warning");
	SRunner *runner;
	int failed;

	log_set_sink(sink, NULL);
	quota_warning_metrics();
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, test_crossing);
	tcase_add_test(tests, test_own_text);
	tcase_add_test(tests, test_site_text);
	tcase_add_test(tests, test_bad_text);
	tcase_add_test(tests, test_counts);
	tcase_add_test(tests, test_no_mailbox);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
