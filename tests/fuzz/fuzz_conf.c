/*
 * fuzz_conf - INI files: the strict reader, the table of settings, and a dump that loads again
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_conf: %s\n", what);
	abort();
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);
	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* Into a file in memory, readable by its owner only; its name goes to PATH. */
static int memory_file(const void *data, size_t size, char *path, size_t path_size)
{
	int fd = memfd_create("fuzz_conf", MFD_CLOEXEC);
	check(fd >= 0 && fchmod(fd, 0600) == 0, "memfd_create");
	check(write(fd, data, size) == (ssize_t)size, "write");
	snprintf(path, path_size, "/proc/self/fd/%d", fd);
	return fd;
}

static void walk(const struct conf_file *file)
{
	for (size_t i = 0; conf_file_section(file, i) != NULL; i++) {
		const char *section = conf_file_section(file, i);
		for (size_t k = 0; conf_file_key(file, section, k) != NULL; k++)
			check(conf_file_get(file, section, conf_file_key(file, section, k)) != NULL,
			      "a key without a value");
	}
}

/*
 * What was loaded, dumped and loaded again is the same; secrets excepted. Also excepted is
 * password_file: it would name a file of the host.
 */
static void check_dump(struct settings *settings)
{
	struct settings again;
	struct error err = {""};
	struct buf first = BUF_INIT, second = BUF_INIT;
	char path[64];
	if (settings->database.password[0] != '\0')
		return;
	conf_dump(&settings_table, settings, &first);
	int fd = memory_file(buf_str(&first), first.len, path, sizeof(path));
	enum result result = settings_load(path, &again, NULL, &err);
	if (result != RESULT_FOUND)
		fprintf(stderr, "%s\n%s\n", err.text, buf_str(&first));
	check(result == RESULT_FOUND, "a dump does not load");
	conf_dump(&settings_table, &again, &second);
	check(strcmp(buf_str(&first), buf_str(&second)) == 0, "a dump changes by loading it");
	settings_free(&again);
	close(fd);
	buf_free(&first);
	buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_file *file = NULL;
	struct settings settings;
	struct error err = {""};
	struct buf mistakes = BUF_INIT;
	char path[64];
	int fd = memory_file(data, size, path, sizeof(path));

	if (conf_file_read(path, &file, &err) == RESULT_FOUND) {
		walk(file);
		conf_file_free(&file);
	} else {
		check(err.text[0] != '\0', "refused without a reason");
		check(!ends_with(err.text, "or the file changed just now"),
		      "iniparser reads otherwise");
	}
	if (settings_load(path, &settings, &mistakes, &err) == RESULT_FOUND) {
		check(mistakes.len == 0, "mistakes, and yet loaded");
		check_dump(&settings);
		settings_free(&settings);
	} else {
		check(mistakes.len > 0, "refused without a mistake");
	}
	buf_free(&mistakes);
	close(fd);
	return 0;
}
