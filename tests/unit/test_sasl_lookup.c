/*
 * The auxprop lookup called as libsasl calls it, with a property context of our own: which entries
 * it touches under which flags, and when it leaves the database alone.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <dlfcn.h>
#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/sasl_harness.h"

#define ALICE "alice@example.test"

typedef int auxprop_entry(const sasl_utils_t *, int, int *, sasl_auxprop_plug_t **, const char *);

static struct host host;
static sasl_auxprop_plug_t *plug;

/* One entry is enough: libsasl's array ends with a NULL name. */
static struct propval properties[2];
static char stored[256];
static unsigned sets, erasures;

static int give_option(void *context, const char *plugin, const char *option, const char **value,
		       unsigned *len)
{
	(void)plugin;
	(void)len;
	if (strcmp(option, "postern_config") != 0)
		return SASL_FAIL;
	*value = context;
	return SASL_OK;
}

static void ignore_log(sasl_conn_t *conn, int level, const char *format, ...)
{
	(void)conn;
	(void)level;
	(void)format;
}

static const struct propval *give_properties(struct propctx *ctx)
{
	(void)ctx;
	return properties;
}

static int take_property(struct propctx *ctx, const char *name, const char *value, int len)
{
	(void)ctx;
	ck_assert_str_eq(name, properties[0].name);
	snprintf(stored, sizeof(stored), "%.*s", len, value);
	sets++;
	return SASL_OK;
}

static void erase_property(struct propctx *ctx, const char *name)
{
	(void)ctx;
	ck_assert_ptr_nonnull(strstr(name, "userPassword"));
	erasures++;
}

static sasl_utils_t utils = {.getopt = give_option,
			     .getopt_context = host.ini,
			     .log = ignore_log,
			     .prop_get = give_properties,
			     .prop_set = take_property,
			     .prop_erase = erase_property};
static sasl_server_params_t sparams = {.utils = &utils};

static void setup(void)
{
	auxprop_entry *entry;
	char path[1024];
	void *module;
	int version = 0;

	host_make(&host);
	host_mailbox(&host, ALICE, "{PLAIN}test");
	memset(properties, 0, sizeof(properties));
	stored[0] = '\0';
	sets = erasures = 0;
	host_built("sasl-auxprop-sql/.libs/postern.so", path, sizeof(path));
	module = dlopen(path, RTLD_NOW);
	ck_assert_msg(module != NULL, "%s", dlerror());
	entry = (auxprop_entry *)(uintptr_t)dlsym(module, "sasl_auxprop_plug_init");
	ck_assert_ptr_nonnull(entry);
	ck_assert_int_eq(entry(&utils, SASL_AUXPROP_PLUG_VERSION - 1, &version, &plug, "postern"),
			 SASL_BADVERS);
	ck_assert_int_eq(entry(&utils, SASL_AUXPROP_PLUG_VERSION, &version, &plug, "postern"),
			 SASL_OK);
	ck_assert_int_eq(version, SASL_AUXPROP_PLUG_VERSION);
	host_statements();
}

static void teardown(void)
{
	plug->auxprop_free(NULL, &utils);
	host_free(&host);
}

static int lookup(const char *property, const char **values, unsigned flags, const char *login)
{
	properties[0].name = property;
	properties[0].values = values;
	/* libsasl's names are counted, not always terminated where the count ends. */
	return plug->auxprop_lookup(NULL, &sparams, flags, login, (unsigned)strlen(login));
}

START_TEST(the_clear_text_is_set)
{
	ck_assert_int_eq(lookup("*userPassword", NULL, 0, ALICE), SASL_OK);
	ck_assert_str_eq(stored, "test");
	ck_assert_uint_eq(sets, 1);
	ck_assert_int_eq(lookup("*userPassword", NULL, 0, "bob@example.test"), SASL_NOUSER);
	ck_assert_uint_eq(sets, 1);
}
END_TEST

START_TEST(the_length_ends_the_name)
{
	properties[0].name = "*userPassword";
	ck_assert_int_eq(
		plug->auxprop_lookup(NULL, &sparams, 0, ALICE "et cetera", sizeof(ALICE) - 1),
		SASL_OK);
	ck_assert_str_eq(stored, "test");
}
END_TEST

START_TEST(a_lookup_without_a_request_never_asks)
{
	ck_assert_int_eq(unlink(host.database), 0);
	ck_assert_int_eq(lookup(NULL, NULL, 0, ALICE), SASL_OK);
	ck_assert_int_eq(lookup(NULL, NULL, SASL_AUXPROP_AUTHZID, ALICE), SASL_OK);
	ck_assert_int_eq(lookup(NULL, NULL, 0, "nobody"), SASL_OK);
	/* Entries of the other identity, and properties that we do not have. */
	ck_assert_int_eq(lookup("*userPassword", NULL, SASL_AUXPROP_AUTHZID, ALICE), SASL_OK);
	ck_assert_int_eq(lookup("userPassword", NULL, 0, ALICE), SASL_OK);
	ck_assert_int_eq(lookup("*cmusaslsecretOTP", NULL, 0, ALICE), SASL_OK);
	ck_assert_uint_eq(sets, 0);
	ck_assert_uint_eq(host_statements(), 0);
	/* And the same database, asked. */
	ck_assert_int_eq(lookup("*userPassword", NULL, 0, ALICE), SASL_UNAVAIL);
}
END_TEST

START_TEST(the_authorisation_identity_has_unprefixed_entries)
{
	ck_assert_int_eq(lookup("userPassword", NULL, SASL_AUXPROP_AUTHZID, ALICE), SASL_OK);
	ck_assert_str_eq(stored, "test");
}
END_TEST

START_TEST(values_that_are_set_stay_unless_overridden)
{
	const char *values[] = {"other", NULL};

	ck_assert_int_eq(lookup("*userPassword", values, 0, ALICE), SASL_OK);
	ck_assert_uint_eq(sets, 0);
	ck_assert_uint_eq(host_statements(), 0);
	ck_assert_int_eq(lookup("*userPassword", values, SASL_AUXPROP_OVERRIDE, ALICE), SASL_OK);
	ck_assert_uint_eq(erasures, 1);
	ck_assert_uint_eq(sets, 1);
	ck_assert_str_eq(stored, "test");
}
END_TEST

START_TEST(a_hash_is_no_clear_text)
{
	host_sql(&host, "UPDATE mailbox SET password = '{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M='");
	ck_assert_int_eq(lookup("*userPassword", NULL, 0, ALICE), SASL_OK);
	ck_assert_int_eq(lookup("*authPassword", NULL, 0, ALICE), SASL_OK);
	ck_assert_uint_eq(sets, 0);
}
END_TEST

START_TEST(a_check_against_a_hash_erases_the_password_and_fails)
{
	ck_assert_int_eq(lookup("*userPassword", NULL, SASL_AUXPROP_VERIFY_AGAINST_HASH, ALICE),
			 SASL_FAIL);
	ck_assert_uint_eq(erasures, 2);
	ck_assert_uint_eq(sets, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sasl_lookup");
	TCase *tcase = tcase_create("lookup");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, the_clear_text_is_set);
	tcase_add_test(tcase, the_length_ends_the_name);
	tcase_add_test(tcase, a_lookup_without_a_request_never_asks);
	tcase_add_test(tcase, the_authorisation_identity_has_unprefixed_entries);
	tcase_add_test(tcase, values_that_are_set_stay_unless_overridden);
	tcase_add_test(tcase, a_hash_is_no_clear_text);
	tcase_add_test(tcase, a_check_against_a_hash_erases_the_password_and_fails);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
