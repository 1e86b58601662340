/*
 * test_settings - the defaults, the checks across keys, and that the manual and the sample file
 * agree with the table of options
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/settings.h"

static char folder[64], file[96], secret_file[96];

static void setup(void)
{
	strcpy(folder, "/tmp/test_settings.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/postern.ini", folder);
	snprintf(secret_file, sizeof(secret_file), "%s/password", folder);
}

static void teardown(void)
{
	unlink(file);
	unlink(secret_file);
	rmdir(folder);
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	FILE *out = fopen(name, "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_int_ge(fputs(text, out), 0);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_int_eq(chmod(name, mode), 0);
}

static char *read_source(const char *name)
{
	const char *top = getenv("POSTERN_TOP_SRCDIR");
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", top ? top : ".", name);
	FILE *in = fopen(path, "r");
	ck_assert_msg(in != NULL, "%s", path);
	char *text = calloc(1, 200000);
	ck_assert_uint_gt(fread(text, 1, 199999, in), 0);
	fclose(in);
	return text;
}

START_TEST(test_defaults)
{
	struct settings settings;
	struct error err = {""};
	ck_assert_msg(settings_load(NULL, &settings, NULL, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_str_eq(settings.database.driver, "sqlite");
	ck_assert_str_eq(settings.database.path, "/var/lib/postern/mail.sqlite");
	ck_assert_int_eq(settings.database.connect_timeout, 2000);
	ck_assert_int_eq(settings.database.query_timeout, 3000);
	ck_assert_int_eq(settings.database.retry_interval, 1000);
	ck_assert_str_eq(settings.schema.preset, "postfixadmin");
	ck_assert_str_eq(settings.address.recipient_delimiter, "+");
	ck_assert(settings.address.propagate_extension);
	ck_assert_str_eq(settings.address.inactive, "reject");
	ck_assert_str_eq(settings.mail.base, "/var/mail/postern");
	ck_assert_str_eq(settings.mail.owner, "vmail");
	ck_assert_str_eq(settings.lookup.listen, "/var/spool/postfix/postern/lookup");
	ck_assert_str_eq(settings.lookup.user, "postern");
	ck_assert_int_eq(settings.lookup.socket_mode, 0660);
	ck_assert_str_eq(settings.lookup.socket_group, "postfix");
	ck_assert_int_eq(settings.lookup.workers, 16);
	ck_assert_int_eq(settings.lookup.positive_ttl, 60000);
	ck_assert_int_eq(settings.lookup.negative_ttl, 5000);
	ck_assert_int_eq(settings.lookup.stale_ttl, 86400000);
	ck_assert_int_eq(settings.lookup.cache_size, 64 << 20);
	ck_assert_str_eq(settings.lmtp.listen, "/var/spool/postfix/postern/lmtp");
	ck_assert_str_eq(settings.policy.listen, "/var/spool/postfix/postern/policy");
	ck_assert_str_eq(settings.auth.saslauthd, "");
	ck_assert_str_eq(settings.log.level, "info");
	ck_assert_str_eq(settings.metrics.listen, "");
	ck_assert_uint_eq(settings.limit_count, 0);
	settings_free(&settings);
}
END_TEST

START_TEST(test_checks)
{
	static const struct {
		const char *text, *expected;
	} bad[] = {
		{"[database]\nhosts = db1\n", "[database] hosts: is for driver = mysql"},
		{"[database]\ndriver = mysql\nname = x\n", "[database] hosts: driver = mysql"},
		{"[database]\ndriver = mysql\nhosts = x\n", "[database] name: driver = mysql"},
		{"[database]\npath = mail.sqlite\n", "expected an absolute path"},
		{"[database]\npassword = a\npassword_file = /b\n", "not both"},
		{"[database]\npassword_file = /nonexistent/x\n", "/nonexistent/x"},
		{"[address]\nrecipient_delimiter = +a\n", "[address] recipient_delimiter"},
		{"[address]\nrecipient_delimiter = @\n", "[address] recipient_delimiter"},
		{"[address]\ndefault_domain = a@b\n", "[address] default_domain"},
		{"[mail]\nsubdirectory = ../x\n", "[mail] subdirectory"},
		{"[quota]\nwarn = 80 90%\n", "[quota] warn: \"90%\" is not a percentage"},
		{"[quota]\nwarn = 0\n", "[quota] warn: \"0\""},
		{"[quota]\nwarn = 101\n", "[quota] warn: \"101\""},
		{"[quota]\nwarn = 00000000000000000080\n", "[quota] warn"},
		{"[quota]\nwarn_sender = \"\"\n", "[quota] warn_sender"},
		{"[quota]\nwarn_sender = \"A <a@b>\"\n", "[quota] warn_sender"},
		{"[quota]\nlock_timeout = 1ms\n", "[quota] lock_timeout"},
		{"[map a]\nkey = any\n", "[map a] query: is required"},
		{"[map a]\nquery = \"\"\n", "[map a] query: is empty"},
		{"[map a b]\nquery = x\n", "[map a b]: the name"},
		{"[map a]\nquery = x\nkey = domain\nsearch = full\n", "[map a] search"},
		{"[map a]\nquery = x\nkey = host\n", "[map a] key"},
		{"[map a]\nquery = x\ndomains = \"a.test b@c\"\n", "[map a] domains: \"b@c\""},
		{"[map a]\nquery = x\ntext5 = {value}\n", "[map a] text5: there is no {value}"},
		{"[map a]\nquery = x\nresult = {valu}\n", "[map a] result: there is no {valu}"},
		{"[map a]\nquery = x\npositive_ttl = 5\n", "[map a] positive_ttl"},
		{"[map a]\nquery = x\nnegative_ttl = 2d\n", "[map a] negative_ttl"},
		{"[mail]\nowner = \"\"\n", "[mail] owner"},
		{"[schema]\npreset =\n", "[schema] preset"},
		{"[limit x]\n", "[limit x] max: is required"},
		{"[limit]\nmax = 1\n", "[limit]: unknown section; the nearest known one is "
				       "[limit *]"},
		{"[greylist]\nenabled = yes\n", "[greylist] enabled"},
		{"[lookup]\npositive_tll = 1s\n", "\"positive_ttl\""},
		{"[lookup]\nworkers = 0\n", "from 1 to 1024"},
		{"[lookup]\npositive_ttl = 60s   negative_ttl = 5s\n", "[lookup] positive_ttl"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct settings settings;
		struct error err = {""};
		write_file(file, bad[i].text, 0600);
		ck_assert_msg(settings_load(file, &settings, NULL, &err) == RESULT_PERM, "%s",
			      bad[i].text);
		ck_assert_msg(strstr(err.text, bad[i].expected) != NULL, "\"%s\" lacks \"%s\"",
			      err.text, bad[i].expected);
		ck_assert_ptr_nonnull(strstr(err.text, file));
	}
}
END_TEST

START_TEST(test_all_mistakes_at_once)
{
	struct settings settings;
	struct error err = {""};
	struct buf all = BUF_INIT;
	write_file(file, "[mail]\nowner = \"\"\nsubdirectory = /x\n[database]\nhosts = x\n", 0600);
	ck_assert_int_eq(settings_load(file, &settings, &all, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(buf_str(&all), "[mail] owner"));
	ck_assert_ptr_nonnull(strstr(buf_str(&all), "[mail] subdirectory"));
	ck_assert_ptr_nonnull(strstr(buf_str(&all), "[database] hosts"));
	buf_free(&all);
}
END_TEST

START_TEST(test_password)
{
	struct settings settings;
	struct error err = {""};
	char text[300];
	snprintf(text, sizeof(text), "[database]\npassword_file = %s\n", secret_file);
	write_file(file, text, 0644);
	write_file(secret_file, "s3 cret;#\nsecond\n", 0600);
	ck_assert_msg(settings_load(file, &settings, NULL, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_str_eq(settings.database.password, "s3 cret;#");
	settings_free(&settings);
	write_file(secret_file, "s3cret\n", 0644);
	ck_assert_int_eq(settings_load(file, &settings, NULL, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, secret_file));
	ck_assert_ptr_null(strstr(err.text, "s3cret"));
	write_file(file, "[database]\npassword = \"p;w\"\n", 0644);
	ck_assert_int_eq(settings_load(file, &settings, NULL, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "chmod"));
	chmod(file, 0640);
	ck_assert_int_eq(settings_load(file, &settings, NULL, &err), RESULT_FOUND);
	ck_assert_str_eq(settings.database.password, "p;w");
	settings_free(&settings);
}
END_TEST

START_TEST(test_limits)
{
	struct settings settings;
	struct error err = {""};
	write_file(file,
		   "[limit outbound]\nkey = sasl_user\ncount = recipients\nmax = 200\n"
		   "window = 1h\n[limit two]\nmax = 5\nverdict = warn\nwindow = 1d\n",
		   0644);
	ck_assert_msg(settings_load(file, &settings, NULL, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_uint_eq(settings.limit_count, 2);
	ck_assert_str_eq(settings.limits[0].name, "outbound");
	ck_assert_int_eq(settings.limits[0].max, 200);
	ck_assert_int_eq(settings.limits[0].window, 3600000);
	ck_assert_str_eq(settings.limits[0].verdict, "defer");
	ck_assert_str_eq(settings.limits[1].key, "sasl_user");
	ck_assert_str_eq(settings.limits[1].verdict, "warn");
	settings_free(&settings);
}
END_TEST

START_TEST(test_maps)
{
	struct settings settings;
	struct error err = {""};
	write_file(file,
		   "[lookup]\nnegative_ttl = 7s\n[map one]\nquery = \"SELECT 1\"\n"
		   "positive_ttl = 0\n[map two]\nquery = x\nlimit = 5\nnegative_ttl = 1d\n",
		   0644);
	ck_assert_msg(settings_load(file, &settings, NULL, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_uint_eq(settings.map_count, 2);
	ck_assert_str_eq(settings.maps[0].name, "one");
	ck_assert_str_eq(settings.maps[0].query, "SELECT 1");
	ck_assert_str_eq(settings.maps[0].result, "{value}");
	ck_assert_int_eq(settings.maps[1].limit, 5);
	ck_assert_int_eq(settings.maps[0].positive_ttl_ms, 0);
	ck_assert_int_eq(settings.maps[0].negative_ttl_ms, 7000);
	ck_assert_int_eq(settings.maps[1].positive_ttl_ms, 60000);
	ck_assert_int_eq(settings.maps[1].negative_ttl_ms, 86400000);
	settings_free(&settings);
}
END_TEST

START_TEST(test_dump)
{
	struct settings settings;
	struct error err = {""};
	struct buf first = BUF_INIT, second = BUF_INIT;
	ck_assert_int_eq(settings_load(NULL, &settings, NULL, &err), RESULT_FOUND);
	conf_dump(&settings_table, &settings, &first);
	settings_free(&settings);
	write_file(file, buf_str(&first), 0600);
	ck_assert_msg(settings_load(file, &settings, NULL, &err) == RESULT_FOUND, "%s", err.text);
	conf_dump(&settings_table, &settings, &second);
	ck_assert_str_eq(buf_str(&first), buf_str(&second));
	settings_free(&settings);
	buf_free(&first);
	buf_free(&second);
}
END_TEST

/* The part of the manual about SECTION; ended by the next one. */
static char *manual_section(const char *manual, const char *section)
{
	char head[80];
	const char *star = strchr(section, '*');
	int len = star ? (int)(star - section) : (int)strlen(section);
	snprintf(head, sizeof(head), "\n.Ss [%.*s%s]\n", len, section, star ? "NAME" : "");
	const char *begin = strstr(manual, head);
	ck_assert_msg(begin != NULL, "postern.ini(5) lacks [%s]", section);
	begin += strlen(head);
	const char *end = strstr(begin, "\n.S");
	ck_assert_ptr_nonnull(end);
	return strndup(begin, (size_t)(end - begin + 1));
}

static void check_manual_item(char *section, const struct conf_option *option)
{
	char head[80], wanted[200];
	snprintf(head, sizeof(head), ".It Cm %s\n", option->key);
	char *begin = strstr(section, head);
	ck_assert_msg(begin != NULL, "postern.ini(5) lacks [%s] %s", option->section, option->key);
	char *end = strstr(begin + 1, "\n.It ");
	char *item = end ? strndup(begin, (size_t)(end - begin + 1)) : strdup(begin);

	if (option->fallback == NULL)
		snprintf(wanted, sizeof(wanted), "\nRequired.\n");
	else if (option->fallback[0] == '\0')
		snprintf(wanted, sizeof(wanted), "\nDefault: empty.\n");
	else
		snprintf(wanted, sizeof(wanted), "\nDefault:\n.Ql %s .\n", option->fallback);
	ck_assert_msg(strstr(item, wanted) != NULL, "postern.ini(5): [%s] %s: default",
		      option->section, option->key);
	snprintf(wanted, sizeof(wanted), "\nChange: %s.\n",
		 option->flags & CONF_RELOAD ? "reload" : "restart");
	ck_assert_msg(strstr(item, wanted) != NULL, "postern.ini(5): [%s] %s: reload",
		      option->section, option->key);
	for (const char *c = option->choices ? option->choices : ""; *c != '\0';) {
		char word[40];
		ck_assert(conf_next_word(&c, word, sizeof(word)));
		snprintf(wanted, sizeof(wanted), "\n.Cm %s ", word);
		ck_assert_msg(strstr(item, wanted) != NULL, "postern.ini(5): [%s] %s: %s",
			      option->section, option->key, word);
	}
	free(item);
}

START_TEST(test_manual)
{
	char *manual = read_source("common/postern.ini.5");
	size_t options = 0, items = 0;
	for (const struct conf_option *option = settings_table.options; option->section; option++) {
		char *section = manual_section(manual, option->section);
		check_manual_item(section, option);
		ck_assert_ptr_nonnull(option->help);
		options++;
		free(section);
	}
	/* Nothing is documented that does not exist. */
	const char *sections = strstr(manual, "\n.Sh SECTIONS\n");
	ck_assert_ptr_nonnull(sections);
	for (const char *c = sections; (c = strstr(c, "\n.It Cm ")) != NULL; c++)
		items++;
	ck_assert_uint_eq(items, options);
	free(manual);
}
END_TEST

/* The sample loads, names every key, and shows true defaults in its commented lines. */
START_TEST(test_sample)
{
	char *sample = read_source("packaging/postern.ini");
	struct settings settings, defaults;
	struct error err = {""};
	struct buf one = BUF_INIT, two = BUF_INIT;
	write_file(file, sample, 0644);
	ck_assert_msg(settings_load(file, &settings, NULL, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_int_eq(settings_load(NULL, &defaults, NULL, &err), RESULT_FOUND);
	conf_dump(&settings_table, &settings, &one);
	conf_dump(&settings_table, &defaults, &two);
	ck_assert_str_eq(buf_str(&one), buf_str(&two));
	for (const struct conf_option *option = settings_table.options; option->section; option++) {
		char key[80], commented[80];
		snprintf(key, sizeof(key), "\n%s = ", option->key);
		snprintf(commented, sizeof(commented), "\n; %s = ", option->key);
		ck_assert_msg(strstr(sample, key) || strstr(sample, commented),
			      "packaging/postern.ini lacks [%s] %s", option->section, option->key);
	}
	settings_free(&settings);
	settings_free(&defaults);
	buf_free(&one);
	buf_free(&two);
	free(sample);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("settings");
	TCase *tcase = tcase_create("settings");
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_defaults);
	tcase_add_test(tcase, test_checks);
	tcase_add_test(tcase, test_all_mistakes_at_once);
	tcase_add_test(tcase, test_password);
	tcase_add_test(tcase, test_limits);
	tcase_add_test(tcase, test_maps);
	tcase_add_test(tcase, test_dump);
	tcase_add_test(tcase, test_manual);
	tcase_add_test(tcase, test_sample);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
