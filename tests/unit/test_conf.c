/*
 * test_conf - strict reading of INI files, option tables, dumps and comparisons
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conf.h"

struct item {
	char *name;
	int64_t size;
	char *word;
};

struct sample {
	char *text, *path, *choice, *secret, *optional_path;
	bool flag;
	int64_t integer, size, duration, mode, free_number;
	struct item *items;
	size_t item_count;
};

#define AT(member) offsetof(struct sample, member)
static const struct conf_option options[] = {
	{"one", "text", CONF_STRING, AT(text), "default", 0, 0, NULL, CONF_RELOAD, "a text"},
	{"one", "path", CONF_PATH, AT(path), "/a", 0, 0, NULL, 0, "a path"},
	{"one", "optional_path", CONF_PATH, AT(optional_path), "", 0, 0, NULL, 0, "a path"},
	{"one", "choice", CONF_CHOICE, AT(choice), "red", 0, 0, "red green", 0, "a choice"},
	{"one", "secret", CONF_STRING, AT(secret), "", 0, 0, NULL, CONF_SECRET | CONF_RELOAD, "s"},
	{"two", "flag", CONF_BOOL, AT(flag), "no", 0, 0, NULL, 0, "a flag"},
	{"two", "integer", CONF_INTEGER, AT(integer), "5", -10, 10, NULL, CONF_RELOAD, "a number"},
	{"two", "size", CONF_SIZE, AT(size), "64K", 1, 1 << 30, NULL, CONF_RELOAD, "a size"},
	{"two", "duration", CONF_DURATION, AT(duration), "90s", 0, 86400000, NULL, 0, "a time"},
	{"two", "mode", CONF_MODE, AT(mode), "0660", 0, 0777, NULL, CONF_RELOAD, "a mode"},
	{"two", "free_number", CONF_INTEGER, AT(free_number), "0", 0, 0, NULL, 0, "a number"},
	{"item *", "size", CONF_SIZE, offsetof(struct item, size), NULL, 0, 0, NULL, CONF_RELOAD,
	 "a size"},
	{"item *", "word", CONF_STRING, offsetof(struct item, word), "w", 0, 0, NULL, 0, "a word"},
	{NULL, NULL, CONF_STRING, 0, NULL, 0, 0, NULL, 0, NULL},
};
static const struct conf_family families[] = {
	{"item *", AT(items), AT(item_count), sizeof(struct item)},
	{NULL, 0, 0, 0},
};
static const struct conf_table table = {options, families, sizeof(struct sample)};

static char folder[64], file[80];

static void setup(void)
{
	strcpy(folder, "/tmp/test_conf.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/f.ini", folder);
}

static void teardown(void)
{
	unlink(file);
	rmdir(folder);
}

static void write_bytes(const char *text, size_t len)
{
	FILE *out = fopen(file, "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_uint_eq(fwrite(text, 1, len, out), len);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_int_eq(chmod(file, 0600), 0);
}

static void write_text(const char *text)
{
	write_bytes(text, strlen(text));
}

START_TEST(test_values)
{
	static const struct {
		const char *line, *value;
	} good[] = {
		{"k = plain", "plain"},
		{"k=plain", "plain"},
		{"  K\t=\tplain \t", "plain"},
		{"k = two words", "two words"},
		{"k =", ""},
		{"k = ", ""},
		{"k = ; only a comment", ""},
		{"k = #", ""},
		{"k = \"\"", ""},
		{"k = '' ; x", ""},
		{"k = a ; comment", "a"},
		{"k = a # comment ; more", "a"},
		{"k = \"a;b#c\"", "a;b#c"},
		{"k = \"a;b\";c", "a;b"},
		{"k = \" blanks \"", " blanks "},
		{"k = 'say \"x\"'", "say \"x\""},
		{"k = \"it's\" ; it's", "it's"},
		{"k = a\"b'c", "a\"b'c"},
		{"k = \"back\\slash\\n\\\"", "back\\slash\\n\\"},
		{"k = a\\b", "a\\b"},
		{"k = = b = \"c\"", "= b = \"c\""},
		{"k = b=c", "b=c"},
		{"k = [x]", "[x]"},
		{"k = caf\xc3\xa9", "caf\xc3\xa9"},
		{"k = x\r", "x"},
		{"k = 100%s%n", "100%s%n"},
		{"k = \"SELECT '', t.`a` FROM t WHERE b = :x AND c LIKE '%;%' -- \"",
		 "SELECT '', t.`a` FROM t WHERE b = :x AND c LIKE '%;%' -- "},
	};
	struct error err = {""};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct conf_file *read;
		char text[300];
		/* With and without a newline at the end. */
		for (int newline = 0; newline < 2; newline++) {
			snprintf(text, sizeof(text), "[Sec Tion]\n%s%s", good[i].line,
				 newline ? "\n" : "");
			write_text(text);
			ck_assert_msg(conf_file_read(file, &read, &err) == RESULT_FOUND, "%s: %s",
				      good[i].line, err.text);
			ck_assert_str_eq(conf_file_get(read, "sec tion", "k"), good[i].value);
			conf_file_free(&read);
			ck_assert_ptr_null(read);
		}
	}
}
END_TEST

START_TEST(test_bad_lines)
{
	static const struct {
		const char *text, *expected;
	} bad[] = {
		{"k = 1\n", ":1: k stands before any [section]"},
		{"[a]\nk = a;b\n", ":2: [a] k: an unquoted value"},
		{"[a]\nk = a;\n", ":2: [a] k: an unquoted value"},
		{"[a]\nk = a#b\n", ":2: [a] k: an unquoted value"},
		{"[a]\nk = ;b\n", ":2: [a] k: an unquoted value"},
		{"[a]\nk =#\n", ":2: [a] k: an unquoted value"},
		{"[a]\nk = \"abc\n", ":2: [a] k: the value opens a quote"},
		{"[a]\nk = 'abc\n", ":2: [a] k: the value opens a quote"},
		{"[a]\nk = \"\n", ":2: [a] k: the value opens a quote"},
		{"[a]\nk = \"a\" b\n", ":2: [a] k: there is text behind"},
		{"[a]\nk = \"a\\\"b\"\n", ":2: [a] k: there is text behind"},
		{"[a]\nk = \"\"b\"\n", ":2: [a] k: there is text behind"},
		{"[a]\nk = 'it''s'\n", ":2: [a] k: there is text behind"},
		{"[a]\nk = 1\nK = 2\n", ":3: [a] k is already on line 2"},
		{"[a]\nk=1\n[b]\n[A]\nx=1\n", ":4: section [a] is already on line 1"},
		{"[a]\nk = a\\\n", ":2: a backslash at the end"},
		{"[a]\n; comment \\ \nk = 1\n", ":2: a backslash at the end"},
		{"[a] ; comment\n", ":1: a section is [NAME] alone"},
		{"[a] ; see [b]\n", ":1: a section is [NAME] alone"},
		{"[a\n", ":1: a section is [NAME] alone"},
		{"[a]]\n", ":1: a section is [NAME] alone"},
		{"[\n", ":1: a section is [NAME] alone"},
		{"[]\n", ":1: a section needs a name"},
		{"[ \t]\n", ":1: a section needs a name"},
		{"[a:b]\n", ":1: a section name cannot hold"},
		{"[a]\nword\n", ":2: neither"},
		{"[a]\nx", ":2: neither"},
		{"[a]\n= 1\n", ":2: before '='"},
		{"[a]\nk:x = 1\n", ":2: before '='"},
		{"[a]\ntwo words = 1\n", ":2: before '='"},
		{"[a]\nk = a\vb\n", ":2: control character 0x0b in column 6"},
		{"[a]\nk = a\rb\n", ":2: control character 0x0d"},
		{"\xef\xbb\xbf[a]\n", ":1: begins with a byte order mark"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct conf_file *read = NULL;
		struct error err = {""};
		write_text(bad[i].text);
		ck_assert_msg(conf_file_read(file, &read, &err) == RESULT_PERM, "%s", bad[i].text);
		ck_assert_ptr_null(read);
		ck_assert_msg(strstr(err.text, bad[i].expected) != NULL, "\"%s\" lacks \"%s\"",
			      err.text, bad[i].expected);
		ck_assert_ptr_eq(strstr(err.text, file), err.text);
	}
}
END_TEST

START_TEST(test_line_length)
{
	char text[1200], value[1100];
	struct conf_file *read;
	struct error err;
	/* "k = " and two quotes: 1022 bytes are the most, also without a newline. */
	for (int newline = 0; newline < 2; newline++) {
		memset(value, 'x', sizeof(value));
		value[1016] = '\0';
		snprintf(text, sizeof(text), "[a]\nk = \"%s\"%s", value, newline ? "\n" : "");
		write_text(text);
		ck_assert_int_eq(conf_file_read(file, &read, &err), RESULT_FOUND);
		ck_assert_str_eq(conf_file_get(read, "a", "k"), value);
		conf_file_free(&read);
		snprintf(text, sizeof(text), "[a]\nk = \"%sx\"%s", value, newline ? "\n" : "");
		write_text(text);
		ck_assert_int_eq(conf_file_read(file, &read, &err), RESULT_PERM);
		ck_assert_ptr_nonnull(strstr(err.text, ":2: the line is longer"));
	}
}
END_TEST

START_TEST(test_bad_files)
{
	struct conf_file *read;
	struct error err;
	write_bytes("[a]\nk = a\0b\n", 12);
	ck_assert_int_eq(conf_file_read(file, &read, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "control character 0x00"));
	ck_assert_int_eq(conf_file_read(folder, &read, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "not a regular file"));
	ck_assert_int_eq(conf_file_read("/dev/null", &read, &err), RESULT_PERM);
	unlink(file);
	ck_assert_int_eq(conf_file_read(file, &read, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "cannot be opened"));
	/* A pipe without a writer must not make us wait. */
	ck_assert_int_eq(mkfifo(file, 0600), 0);
	ck_assert_int_eq(conf_file_read(file, &read, &err), RESULT_PERM);
	unlink(file);
	char *large = malloc(1200000);
	memset(large, '\n', 1200000);
	write_bytes(large, 1200000);
	free(large);
	ck_assert_int_eq(conf_file_read(file, &read, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "larger than 1 MiB"));
}
END_TEST

START_TEST(test_order)
{
	struct conf_file *read;
	write_text("[Z]\nb=1\na=2\n[query x]\nSQL.2 = q\n[empty]\n");
	ck_assert_int_eq(conf_file_read(file, &read, NULL), RESULT_FOUND);
	ck_assert_str_eq(conf_file_section(read, 0), "z");
	ck_assert_str_eq(conf_file_section(read, 1), "query x");
	ck_assert_str_eq(conf_file_section(read, 2), "empty");
	ck_assert_ptr_null(conf_file_section(read, 3));
	ck_assert_str_eq(conf_file_key(read, "z", 0), "b");
	ck_assert_str_eq(conf_file_key(read, "z", 1), "a");
	ck_assert_ptr_null(conf_file_key(read, "z", 2));
	ck_assert_ptr_null(conf_file_key(read, "empty", 0));
	ck_assert_ptr_null(conf_file_key(read, "none", 0));
	ck_assert_str_eq(conf_file_get(read, "query x", "sql.2"), "q");
	ck_assert_ptr_null(conf_file_get(read, "query x", "sql"));
	ck_assert_ptr_null(conf_file_get(read, "none", "sql"));
	conf_file_free(&read);
}
END_TEST

START_TEST(test_parse)
{
	int64_t value;
	bool flag;
	ck_assert(conf_parse_integer("-12", &value) && value == -12);
	ck_assert(conf_parse_integer("9223372036854775807", &value) && value == INT64_MAX);
	static const char *const not_integers[] = {"",
						   "-",
						   "+1",
						   "12abc",
						   " 1",
						   "1 ",
						   "0x10",
						   "1.5",
						   "--1",
						   "9223372036854775808",
						   "99999999999999999999"};
	for (size_t i = 0; i < sizeof(not_integers) / sizeof(not_integers[0]); i++)
		ck_assert_msg(!conf_parse_integer(not_integers[i], &value), "%s", not_integers[i]);

	ck_assert(conf_parse_size("0", &value) && value == 0);
	ck_assert(conf_parse_size("10", &value) && value == 10);
	ck_assert(conf_parse_size("2K", &value) && value == 2048);
	ck_assert(conf_parse_size("3m", &value) && value == 3 << 20);
	ck_assert(conf_parse_size("1G", &value) && value == 1 << 30);
	ck_assert(conf_parse_size("8388607T", &value));
	static const char *const not_sizes[] = {"", "K", "1 K", "1KB", "-1", "1E", "8388608T"};
	for (size_t i = 0; i < sizeof(not_sizes) / sizeof(not_sizes[0]); i++)
		ck_assert_msg(!conf_parse_size(not_sizes[i], &value), "%s", not_sizes[i]);

	ck_assert(conf_parse_duration("0", &value) && value == 0);
	ck_assert(conf_parse_duration("250ms", &value) && value == 250);
	ck_assert(conf_parse_duration("2s", &value) && value == 2000);
	ck_assert(conf_parse_duration("3m", &value) && value == 180000);
	ck_assert(conf_parse_duration("1h", &value) && value == 3600000);
	ck_assert(conf_parse_duration("1d", &value) && value == 86400000);
	ck_assert(conf_parse_duration("2w", &value) && value == 1209600000);
	static const char *const not_durations[] = {
		"", "1", "s", "1 s", "1sec", "-1s", "9223372036854775807w"};
	for (size_t i = 0; i < sizeof(not_durations) / sizeof(not_durations[0]); i++)
		ck_assert_msg(!conf_parse_duration(not_durations[i], &value), "%s",
			      not_durations[i]);

	ck_assert(conf_parse_bool("Yes", &flag) && flag);
	ck_assert(conf_parse_bool("off", &flag) && !flag);
	ck_assert(conf_parse_bool("1", &flag) && flag);
	ck_assert(!conf_parse_bool("", &flag));
	ck_assert(!conf_parse_bool("yess", &flag));
	ck_assert(!conf_parse_bool("2", &flag));

	const char *cursor = "  one\ttwo  ";
	char word[4];
	ck_assert(conf_next_word(&cursor, word, sizeof(word)));
	ck_assert_str_eq(word, "one");
	ck_assert(conf_next_word(&cursor, word, sizeof(word)));
	ck_assert_str_eq(word, "two");
	ck_assert(!conf_next_word(&cursor, word, sizeof(word)));
	ck_assert_ptr_nonnull(cursor);
	cursor = "long";
	ck_assert(!conf_next_word(&cursor, word, sizeof(word)));
	ck_assert_ptr_null(cursor);
	ck_assert(!conf_next_word(&cursor, word, sizeof(word)));
}
END_TEST

START_TEST(test_load)
{
	struct sample sample;
	struct error err = {""};
	ck_assert_int_eq(conf_load(&table, NULL, &sample, NULL, &err), RESULT_FOUND);
	ck_assert_str_eq(sample.text, "default");
	ck_assert_str_eq(sample.optional_path, "");
	ck_assert_int_eq(sample.size, 65536);
	ck_assert_int_eq(sample.duration, 90000);
	ck_assert_int_eq(sample.mode, 0660);
	ck_assert(!sample.flag);
	ck_assert_uint_eq(sample.item_count, 0);
	conf_free(&table, &sample);

	write_text("[ONE]\nTEXT = \"a;b\"\nchoice = green\n[two]\nflag = on\ninteger = -3\n"
		   "mode = 640\n[item A]\nsize = 1M\n[item b c]\nsize = 2\nword = z\n");
	ck_assert_msg(conf_load(&table, file, &sample, NULL, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_str_eq(sample.text, "a;b");
	ck_assert_str_eq(sample.choice, "green");
	ck_assert(sample.flag);
	ck_assert_int_eq(sample.integer, -3);
	ck_assert_int_eq(sample.mode, 0640);
	ck_assert_uint_eq(sample.item_count, 2);
	ck_assert_str_eq(sample.items[0].name, "a");
	ck_assert_int_eq(sample.items[0].size, 1 << 20);
	ck_assert_str_eq(sample.items[0].word, "w");
	ck_assert_str_eq(sample.items[1].name, "b c");
	ck_assert_str_eq(sample.items[1].word, "z");
	conf_free(&table, &sample);
	ck_assert_ptr_null(sample.items);
}
END_TEST

START_TEST(test_mistakes)
{
	static const char *const expected[] = {
		":1: [oen]: unknown section; the nearest known one is [one]",
		":4: [one] txet: unknown key; the nearest known one is \"text\"",
		":5: [one] integer: unknown key here; it belongs to section [two]",
		":6: [one] path: \"relative\" is not allowed; expected an absolute path",
		":7: [one] choice: \"blue\" is not allowed; expected one of: red green",
		":8: [one] zzzzzzzzzzzz: unknown key",
		":10: [two] flag: \"maybe\" is not allowed; expected yes or no",
		(":11: [two] integer: \"11\" is not allowed; "
		 "expected a whole number, from -10 to 10"),
		":12: [two] size: \"2G\" is not allowed",
		":13: [two] duration: \"5\" is not allowed; expected a time with its unit",
		":14: [two] mode: \"0999\" is not allowed",
		":15: [two] free_number: \"-1\" is not allowed",
		": [item x] size: is required (a size)",
		":18: [itme y]: unknown section; the nearest known one is [item *]",
	};
	struct sample sample;
	struct error err = {""};
	struct buf all = BUF_INIT;
	write_text("[oen]\nx = 1\n[one]\ntxet = 1\ninteger = 1\npath = relative\nchoice = blue\n"
		   "zzzzzzzzzzzz = 1\n[two]\nflag = maybe\ninteger = 11\nsize = 2G\nduration = 5\n"
		   "mode = 0999\nfree_number = -1\n[item x]\nword = a\n[itme y]\n");
	ck_assert_int_eq(conf_load(&table, file, &sample, &all, &err), RESULT_PERM);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		ck_assert_msg(strstr(buf_str(&all), expected[i]) != NULL, "%s\nlacks\n%s",
			      buf_str(&all), expected[i]);
	size_t lines = 0;
	for (const char *c = buf_str(&all); *c != '\0'; c++)
		lines += *c == '\n';
	ck_assert_uint_eq(lines, sizeof(expected) / sizeof(expected[0]));
	ck_assert_ptr_eq(strstr(buf_str(&all), err.text), buf_str(&all));
	ck_assert_ptr_null(sample.text);
	buf_free(&all);
}
END_TEST

START_TEST(test_many_mistakes)
{
	struct sample sample;
	struct buf all = BUF_INIT, text = BUF_INIT;
	for (int i = 0; i < 50; i++)
		buf_printf(&text, "[s%d]\n", i);
	write_text(buf_str(&text));
	ck_assert_int_eq(conf_load(&table, file, &sample, &all, NULL), RESULT_PERM);
	size_t lines = 0;
	for (const char *c = buf_str(&all); *c != '\0'; c++)
		lines += *c == '\n';
	ck_assert_uint_eq(lines, 21);
	buf_free(&all);
	buf_free(&text);
}
END_TEST

START_TEST(test_secret)
{
	struct sample sample;
	struct error err = {""};
	struct buf out = BUF_INIT;
	write_text("[one]\nsecret = hunter2\n");
	chmod(file, 0640);
	ck_assert_int_eq(conf_load(&table, file, &sample, NULL, &err), RESULT_FOUND);
	conf_dump(&table, &sample, &out);
	ck_assert_ptr_null(strstr(buf_str(&out), "hunter2"));
	ck_assert_ptr_nonnull(strstr(buf_str(&out), "secret = (set)\n"));
	conf_free(&table, &sample);
	buf_free(&out);
	chmod(file, 0644);
	ck_assert_int_eq(conf_load(&table, file, &sample, NULL, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "[one] secret"));
	ck_assert_ptr_nonnull(strstr(err.text, "chmod"));
	ck_assert_ptr_nonnull(strstr(err.text, file));
	ck_assert_ptr_null(strstr(err.text, "hunter2"));
	/* Without a secret in it, everybody may read it. */
	write_text("[one]\ntext = x\n");
	chmod(file, 0644);
	ck_assert_int_eq(conf_load(&table, file, &sample, NULL, &err), RESULT_FOUND);
	conf_free(&table, &sample);
}
END_TEST

START_TEST(test_dump)
{
	struct sample sample;
	struct error err = {""};
	struct buf first = BUF_INIT, second = BUF_INIT;
	write_text("[one]\ntext = a\"b'c\npath = \"/x y\"\noptional_path = '/a\"b'\n[two]\n"
		   "size = 3000\nduration = 1500ms\n[item q]\nsize = 1G\nword = \" ; \"\n");
	ck_assert_int_eq(conf_load(&table, file, &sample, NULL, &err), RESULT_FOUND);
	conf_dump(&table, &sample, &first);
	conf_free(&table, &sample);
	write_text(buf_str(&first));
	ck_assert_msg(conf_load(&table, file, &sample, NULL, &err) == RESULT_FOUND, "%s\n%s",
		      err.text, buf_str(&first));
	ck_assert_str_eq(sample.text, "a\"b'c");
	ck_assert_int_eq(sample.size, 3000);
	ck_assert_int_eq(sample.duration, 1500);
	ck_assert_str_eq(sample.items[0].word, " ; ");
	conf_dump(&table, &sample, &second);
	ck_assert_str_eq(buf_str(&first), buf_str(&second));
	ck_assert_ptr_nonnull(strstr(buf_str(&first), "size = 1G\n"));
	ck_assert_ptr_nonnull(strstr(buf_str(&first), "mode = 0660\n"));
	conf_free(&table, &sample);
	buf_free(&first);
	buf_free(&second);
}
END_TEST

START_TEST(test_reloadable)
{
	struct sample before, after;
	struct buf changed = BUF_INIT;
	write_text("[item a]\nsize = 1\n[item gone]\nsize = 1\n");
	ck_assert_int_eq(conf_load(&table, file, &before, NULL, NULL), RESULT_FOUND);
	write_text("[item a]\nsize = 2\n[item gone]\nsize = 1\n[one]\ntext = new\n");
	ck_assert_int_eq(conf_load(&table, file, &after, NULL, NULL), RESULT_FOUND);
	ck_assert(conf_reloadable(&table, &before, &after, &changed));
	ck_assert_uint_eq(changed.len, 0);
	conf_free(&table, &after);

	write_text("[item a]\nsize = 1\nword = new\n[item here]\nsize = 1\n[one]\npath = /new\n"
		   "text = new\n[two]\nflag = yes\n");
	ck_assert_int_eq(conf_load(&table, file, &after, NULL, NULL), RESULT_FOUND);
	ck_assert(!conf_reloadable(&table, &before, &after, &changed));
	ck_assert_str_eq(buf_str(&changed),
			 "[one] path\n[two] flag\n[item a] word\n[item here] word\n"
			 "[item gone] word\n");
	conf_keep(&table, &before, &after);
	ck_assert_str_eq(after.path, "/a");
	ck_assert(!after.flag);
	ck_assert_str_eq(after.text, "new");
	conf_free(&table, &before);
	conf_free(&table, &after);
	buf_free(&changed);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("conf");
	TCase *tcase = tcase_create("conf");
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_values);
	tcase_add_test(tcase, test_bad_lines);
	tcase_add_test(tcase, test_line_length);
	tcase_add_test(tcase, test_bad_files);
	tcase_add_test(tcase, test_order);
	tcase_add_test(tcase, test_parse);
	tcase_add_test(tcase, test_load);
	tcase_add_test(tcase, test_mistakes);
	tcase_add_test(tcase, test_many_mistakes);
	tcase_add_test(tcase, test_secret);
	tcase_add_test(tcase, test_dump);
	tcase_add_test(tcase, test_reloadable);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
