/*
 * test_maps - keys and answers, map by map, on a real SQLite database
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/maps.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/mailhost.h"

static const char rows[] =
	"INSERT INTO t_domain (name, transport) VALUES ('example.com', 'virtual'),"
	" ('example.org', NULL), ('imap2.test', 'lmtp:inet:192.0.2.26:2003'), ('blank.test', '  '),"
	" ('maildrop.test', 'maildrop:'), ('like.test', 'lmtp:unix:virtual'), ('site.test', "
	"'here:');"
	"INSERT INTO t_domain (name, active, transport) VALUES ('closed.test', 0, 'smtp:x');"
	"INSERT INTO t_domain (name, relay, transport) VALUES ('backup.test', 1, "
	"'smtp:[192.0.2.25]'),"
	" ('listed.test', 1, ''), ('caught.test', 1, ''), ('ruled.test', 1, '');"
	"INSERT INTO t_target (name, target) VALUES ('example.net', 'example.com'),"
	" ('spare.test', 'backup.test'), ('alias.test', 'imap2.test'), ('also.test', "
	"'listed.test');"
	"INSERT INTO t_mailbox (address, path, home, quota, transport, uid, gid) VALUES"
	" ('alice@example.com', 'example.com/alice/', NULL, '104857600', '', NULL, NULL),"
	" ('carol@example.com', '../carol/', '/srv/carol', '-1', NULL, 2001, 2002),"
	" ('moved@imap2.test', 'm/', 'imap2/moved', '0', 'smtp:other', 2001, NULL),"
	" ('back@imap2.test', 'b/', '', '', 'dovecot', NULL, NULL),"
	" ('judy@imap2.test', 'j/', '', NULL, '', NULL, NULL),"
	" ('flag@example.org', '1', '', '5', '', NULL, NULL),"
	" ('pathless@example.org', NULL, '', '5', '', NULL, NULL);"
	"INSERT INTO t_mailbox (address, path, active) VALUES ('bob@example.com', 'b/', 0);"
	"INSERT INTO t_alias (address, members) VALUES ('sales@example.com', 'alice@example.com'),"
	" ('known@listed.test', 'known@remote.test'), ('known@caught.test', 'x@remote.test'),"
	" ('@caught.test', 'all@remote.test'), ('cmd@ruled.test', '|x'),"
	" ('torn@example.com', 'a@b.test' || char(10) || 'c@d.test'),"
	" ('bytes@example.com', CAST(x'61ff40622e74657374' AS TEXT));"
	"INSERT INTO t_alias (address, members, active) VALUES ('off@listed.test', 'x@y.test', 0);"
	"INSERT INTO t_copy (address, side, target) VALUES"
	" ('alice@example.com', 'to', '  archive@remote.test\t'),"
	" ('alice+private@example.com', 'to', 'private@remote.test'),"
	" ('own@example.net', 'to', 'own@remote.test'), ('own@example.com', 'to', 'x@remote.test'),"
	" ('@example.com', 'to', 'all@remote.test'), ('example.org', 'to', 'org@remote.test'),"
	" ('@example.net', 'to', 'net@remote.test'),"
	" ('@closed.test', 'to', 'x@remote.test'), ('@ended.test', 'to', 'x@remote.test'),"
	" ('@backup.test', 'to', 'backup@remote.test'),"
	" ('partner@elsewhere.test', 'to', 'archive@remote.test'),"
	" ('two@imap2.test', 'to', 'a@remote.test,b@remote.test'),"
	" ('rows@imap2.test', 'to', 'a@remote.test'), ('rows@imap2.test', 'to', 'b@remote.test'),"
	" ('cmd@imap2.test', 'to', '|/bin/x'), ('file@imap2.test', 'to', '\"/etc/x\"@y.test'),"
	" ('include@imap2.test', 'to', ':include:/x'), ('dom@imap2.test', 'to', '@remote.test'),"
	" ('commas@imap2.test', 'to', ', ,'), ('root@imap2.test', 'to', 'root'),"
	" ('null@example.com', 'to', NULL), ('blank@example.com', 'to', ' '),"
	" ('alice@example.com', 'from', 'sent@remote.test'),"
	" ('@imap2.test', 'from', 'sent-imap2@remote.test');"
	"INSERT INTO t_copy (address, side, target, active) VALUES"
	" ('carol@example.com', 'to', 'off@remote.test', 0), ('off@imap2.test', 'to', 'x@y.test', "
	"0),"
	" ('odd@imap2.test', 'to', 'x@y.test', 'perhaps');"
	"INSERT INTO t_target (name, target) VALUES ('ended.test', 'closed.test');"
	"INSERT INTO t_relayhost (address, relayhost) VALUES"
	" ('alice@example.com', ' [smtp.isp.test]:587 '), ('@example.com', 'relay.isp.test'),"
	" ('moved@imap2.test', 'DUNNO'), ('@imap2.test', 'relay.isp.test'),"
	" ('me@elsewhere.test', '[smtp.elsewhere.test]'), ('@closed.test', 'relay.isp.test'),"
	" ('back@imap2.test', ''), ('rows@imap2.test', 'a'), ('rows@imap2.test', 'b');"
	"INSERT INTO t_relayhost (address, relayhost, active) VALUES ('judy@imap2.test', 'x', 0);"
	"INSERT INTO t_destination (name, kind, value) VALUES"
	" ('[smtp.isp.test]:587', 'password', 'isp:Pass word '),"
	" ('Mixed.isp.test', 'password', 'mixed:x'), ('[2001:db8::25]', 'password', 'six:x'),"
	" ('alice@example.com', 'password', 'alice:y'), ('@example.com', 'password', 'nobody:z'),"
	" ('/run/lmtp', 'password', 'unix:x'), ('*', 'password', 'star:x'),"
	" ('m\xc3\xbcller.test', 'password', 'idn:x'),"
	" ('rows.test', 'password', 'a:1'), ('rows.test', 'password', 'b:2'),"
	" ('blank.test', 'password', ' '), ('torn.test', 'password', 'a:b' || char(10) || 'c'),"
	" ('[smtp.isp.test]:587', 'policy', 'encrypt'), ('.isp.test', 'policy', 'secure'),"
	" ('isp.test', 'policy', 'dane'), ('*', 'policy', 'none');"
	"INSERT INTO t_destination (name, kind, value, active) VALUES"
	" ('off.test', 'password', 'a:b', 0), ('off.test', 'policy', 'none', 0);";

static struct mailhost host;

static void setup(void)
{
	mailhost_open(&host, rows, "");
}

static void teardown(void)
{
	mailhost_close(&host);
}

static const char *lookup_bytes(const char *map, const char *key, size_t len)
{
	static char text[2048];
	struct buf answer = BUF_INIT;
	struct error err = {""};
	enum result result =
		maps_lookup(host.accounts, &host.settings, map, key, len, &answer, NULL, &err);

	if (result == RESULT_FOUND)
		snprintf(text, sizeof(text), "%s", buf_str(&answer));
	else
		snprintf(text, sizeof(text), "%s", result_name(result));
	if (result == RESULT_TEMP || result == RESULT_PERM)
		ck_assert_str_ne(err.text, "");
	buf_free(&answer);
	return text;
}

static const char *lookup(const char *map, const char *key)
{
	return lookup_bytes(map, key, strlen(key));
}

#define assert_lookup(map, key, expected) ck_assert_str_eq(lookup(map, key), expected)

START_TEST(unknown_map_is_perm)
{
	assert_lookup("virtual_alias_mapz", "alice@example.com", "perm");
	assert_lookup("", "alice@example.com", "perm");
	assert_lookup("VIRTUAL_ALIAS_MAPS", "alice@example.com", "perm");
}
END_TEST

START_TEST(names_are_those_of_main_cf)
{
	static const char *const expected[] = {"virtual_mailbox_domains",
					       "virtual_mailbox_maps",
					       "virtual_alias_maps",
					       "transport_maps",
					       "relay_domains",
					       "relay_recipient_maps",
					       "smtpd_sender_login_maps",
					       "recipient_bcc_maps",
					       "sender_bcc_maps",
					       "sender_dependent_relayhost_maps",
					       "smtp_sasl_password_maps",
					       "smtp_tls_policy_maps",
					       "quota",
					       "uid",
					       "gid",
					       "home"};
	size_t i;

	for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		ck_assert_str_eq(maps_name(i), expected[i]);
	ck_assert_ptr_null(maps_name(i));
}
END_TEST

/* Their keys are taken as they stand. */
static bool takes_destinations(const char *map)
{
	return strcmp(map, "smtp_sasl_password_maps") == 0 ||
	       strcmp(map, "smtp_tls_policy_maps") == 0;
}

/* Keys that no map may answer, and none may ask the database about. */
START_TEST(bad_keys_are_none_without_the_database)
{
	static const struct {
		const char *text;
		size_t len;
	} keys[] = {
		{"", 0},
		{" alice@example.com", 18},
		{"alice@example.com ", 18},
		{"ali\nce@example.com", 18},
		{"alice\0@example.com", 18},
		{"alice@example.com\0", 18},
		{"alic\xc3@example.com", 17},
		{"\xc2\x85 alice@example.com", 20},
	};
	const char *map;

	mailhost_fail(0, RESULT_FOUND);
	for (size_t i = 0; (map = maps_name(i)); i++)
		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			ck_assert_msg(
				strcmp(lookup_bytes(map, keys[k].text, keys[k].len), "none") == 0,
				"%s of key %zu", map, k);
	ck_assert_uint_eq(mailhost_calls(), 0);
}
END_TEST

/* Keys that only a map of destinations asks about, and that of relay hosts about the first two. */
START_TEST(odd_keys_are_none_without_the_database)
{
	static const char *const keys[] = {"<>",           "\"<>\"",         "*",
					   "@example.com", "[192.0.2.1]:25", "/etc/passwd"};
	const char *map;

	mailhost_fail(0, RESULT_FOUND);
	for (size_t i = 0; (map = maps_name(i)); i++)
		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
			if (takes_destinations(map) ||
			    (k < 2 && strcmp(map, "sender_dependent_relayhost_maps") == 0))
				continue;
			ck_assert_msg(strcmp(lookup(map, keys[k]), "none") == 0, "%s of %s", map,
				      keys[k]);
		}
	ck_assert_uint_eq(mailhost_calls(), 0);
}
END_TEST

START_TEST(over_long_keys_are_none)
{
	const char *map;
	char key[1002];

	memset(key, 'a', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	memcpy(key + 1001 - 12, "@example.com", 12);
	mailhost_fail(0, RESULT_FOUND);
	for (size_t i = 0; (map = maps_name(i)); i++)
		assert_lookup(map, key, "none");
	ck_assert_uint_eq(mailhost_calls(), 0);
}
END_TEST

START_TEST(address_maps_never_answer_a_domain)
{
	const char *map;

	for (size_t i = 0; (map = maps_name(i)); i++) {
		if (strstr(map, "domains") || strcmp(map, "transport_maps") == 0 ||
		    takes_destinations(map))
			continue;
		assert_lookup(map, "example.com", "none");
		assert_lookup(map, "backup.test", "none");
		assert_lookup(map, "alice", "none");
	}
}
END_TEST

START_TEST(domain_maps_never_answer_an_address)
{
	assert_lookup("virtual_mailbox_domains", "alice@example.com", "none");
	assert_lookup("relay_domains", "x@backup.test", "none");
}
END_TEST

START_TEST(virtual_mailbox_domains_answers_the_domain)
{
	assert_lookup("virtual_mailbox_domains", "EXAMPLE.com", "example.com");
	assert_lookup("virtual_mailbox_domains", "example.net", "example.net");
	assert_lookup("virtual_mailbox_domains", "imap2.test", "imap2.test");
	assert_lookup("virtual_mailbox_domains", "closed.test", "none");
	assert_lookup("virtual_mailbox_domains", "backup.test", "none");
	assert_lookup("virtual_mailbox_domains", "sub.example.com", "none");
	assert_lookup("virtual_mailbox_domains", ".example.com", "none");
}
END_TEST

START_TEST(relay_domains_answers_the_domain)
{
	assert_lookup("relay_domains", "Backup.test", "backup.test");
	assert_lookup("relay_domains", "spare.test", "spare.test");
	assert_lookup("relay_domains", "example.com", "none");
	assert_lookup("relay_domains", "sub.backup.test", "none");
}
END_TEST

START_TEST(relay_subdomains_on_request)
{
	mailhost_sql(&host, "INSERT INTO t_domain (name) VALUES ('mine.backup.test')");
	mailhost_configure(&host, "[lookup]\nrelay_subdomains = yes\n");
	assert_lookup("relay_domains", "a.b.backup.test", "backup.test");
	assert_lookup("relay_domains", "mine.backup.test", "none");
	assert_lookup("relay_domains", "a.mine.backup.test", "none");
	assert_lookup("relay_domains", "test", "none");
	assert_lookup("virtual_mailbox_domains", "a.example.com", "none");
	assert_lookup("relay_recipient_maps", "x@a.backup.test", "x@a.backup.test");
	assert_lookup("relay_recipient_maps", "known@a.listed.test", "none");
}
END_TEST

START_TEST(virtual_mailbox_maps_answers_the_path)
{
	assert_lookup("virtual_mailbox_maps", "Alice+x@example.net", "example.com/alice/");
	assert_lookup("virtual_mailbox_maps", "flag@example.org", "1");
	assert_lookup("virtual_mailbox_maps", "sales@example.com", "none");
	assert_lookup("virtual_mailbox_maps", "bob@example.com", "none");
	/* As the schema holds it; what goes outside the base is the delivery's to refuse. */
	assert_lookup("virtual_mailbox_maps", "carol@example.com", "../carol/");
}
END_TEST

START_TEST(virtual_mailbox_maps_never_answers_empty)
{
	assert_lookup("virtual_mailbox_maps", "pathless@example.org", "perm");
}
END_TEST

START_TEST(virtual_alias_maps_answers_members)
{
	assert_lookup("virtual_alias_maps", "sales+X@example.com", "alice+X@example.com");
	assert_lookup("virtual_alias_maps", "alice@example.net", "alice@example.com");
	assert_lookup("virtual_alias_maps", "x@remote.test", "none");
	assert_lookup("virtual_alias_maps", "cmd@ruled.test", "perm");
}
END_TEST

START_TEST(answers_that_break_the_protocol_are_perm)
{
	assert_lookup("virtual_alias_maps", "torn@example.com", "perm");
	assert_lookup("virtual_alias_maps", "bytes@example.com", "perm");
}
END_TEST

START_TEST(answers_over_the_limit_are_perm)
{
	struct buf answer = BUF_INIT;
	struct error err;

	mailhost_sql(&host, "INSERT INTO t_alias (address, members) VALUES"
			    " ('fits@example.com', replace(hex(zeroblob(49998)), '0', 'a') || 'a'),"
			    " ('over@example.com', replace(hex(zeroblob(49999)), '0', 'a')),"
			    " ('huge@example.com', replace(hex(zeroblob(524288)), '0', 'a'))");
	ck_assert_int_eq(maps_lookup(host.accounts, &host.settings, "virtual_alias_maps",
				     "fits@example.com", 16, &answer, NULL, &err),
			 RESULT_FOUND);
	ck_assert_uint_eq(answer.len + 3, 100000);
	buf_free(&answer);
	assert_lookup("virtual_alias_maps", "over@example.com", "perm");
	assert_lookup("virtual_alias_maps", "huge@example.com", "perm");
}
END_TEST

START_TEST(transport_mailbox_before_domain)
{
	assert_lookup("transport_maps", "judy@imap2.test", "lmtp:inet:192.0.2.26:2003");
	assert_lookup("transport_maps", "moved+x@imap2.test", "smtp:other");
	assert_lookup("transport_maps", "back@imap2.test", "none");
	assert_lookup("transport_maps", "nobody@imap2.test", "lmtp:inet:192.0.2.26:2003");
	assert_lookup("transport_maps", "moved@alias.test", "smtp:other");
	assert_lookup("transport_maps", "x@backup.test", "smtp:[192.0.2.25]");
}
END_TEST

START_TEST(transport_of_a_bare_domain)
{
	assert_lookup("transport_maps", "IMAP2.test", "lmtp:inet:192.0.2.26:2003");
	assert_lookup("transport_maps", "alias.test", "lmtp:inet:192.0.2.26:2003");
	assert_lookup("transport_maps", "sub.imap2.test", "none");
	assert_lookup("transport_maps", "closed.test", "none");
	assert_lookup("transport_maps", "x@closed.test", "none");
}
END_TEST

START_TEST(transport_to_this_host_is_none)
{
	assert_lookup("transport_maps", "alice@example.com", "none");
	assert_lookup("transport_maps", "example.org", "none");
	assert_lookup("transport_maps", "blank.test", "none");
	assert_lookup("transport_maps", "maildrop.test", "none");
}
END_TEST

START_TEST(transport_words_are_compared_as_a_whole)
{
	assert_lookup("transport_maps", "like.test", "lmtp:unix:virtual");
	assert_lookup("transport_maps", "site.test", "here:");
	mailhost_configure(&host, "[lookup]\nlocal_transports = x here:\n");
	assert_lookup("transport_maps", "site.test", "none");
	assert_lookup("transport_maps", "example.com", "none");
	assert_lookup("transport_maps", "like.test", "lmtp:unix:virtual");
}
END_TEST

START_TEST(relay_recipients_without_rows_are_all_found)
{
	assert_lookup("relay_recipient_maps", "Any.Body@backup.test", "any.body@backup.test");
	assert_lookup("relay_recipient_maps", "\"a b\"@backup.test", "\"a b\"@backup.test");
	assert_lookup("relay_recipient_maps", "x@spare.test", "x@spare.test");
	assert_lookup("relay_recipient_maps", "alice@example.com", "none");
}
END_TEST

START_TEST(relay_recipients_with_rows_are_those)
{
	assert_lookup("relay_recipient_maps", "known+x@listed.test", "known+x@listed.test");
	assert_lookup("relay_recipient_maps", "other@listed.test", "none");
	assert_lookup("relay_recipient_maps", "off@listed.test", "none");
	assert_lookup("relay_recipient_maps", "known@also.test", "known@also.test");
	assert_lookup("relay_recipient_maps", "other@also.test", "none");
	assert_lookup("relay_recipient_maps", "other@caught.test", "other@caught.test");
	assert_lookup("relay_recipient_maps", "cmd@ruled.test", "perm");
}
END_TEST

START_TEST(sender_logins)
{
	assert_lookup("smtpd_sender_login_maps", "sales@example.net", "alice@example.com");
	assert_lookup("smtpd_sender_login_maps", "x@remote.test", "none");
}
END_TEST

START_TEST(copies_of_an_address_before_its_domain)
{
	const char *map = "recipient_bcc_maps";

	assert_lookup(map, "Alice@Example.com", "archive@remote.test");
	assert_lookup(map, "\"alice\"@example.com", "archive@remote.test");
	assert_lookup(map, "alice+x@example.com", "archive@remote.test");
	assert_lookup(map, "alice+Private@example.com", "private@remote.test");
	assert_lookup(map, "bob@example.com", "all@remote.test");
	assert_lookup(map, "nobody+x@example.com", "all@remote.test");
	assert_lookup(map, "x@backup.test", "backup@remote.test");
	/* A schema may keep the row of a domain without the '@'. */
	assert_lookup(map, "x@example.org", "org@remote.test");
	assert_lookup(map, "example.org", "none");
}
END_TEST

START_TEST(copies_through_an_alias_domain)
{
	const char *map = "recipient_bcc_maps";

	assert_lookup(map, "own@example.net", "own@remote.test");
	assert_lookup(map, "alice+x@example.net", "archive@remote.test");
	assert_lookup(map, "nobody@example.net", "net@remote.test");
	mailhost_sql(&host, "DELETE FROM t_copy WHERE address = '@example.net'");
	assert_lookup(map, "nobody@example.net", "all@remote.test");
	assert_lookup(map, "x@ended.test", "none");
}
END_TEST

START_TEST(copies_only_of_active_rows)
{
	const char *map = "recipient_bcc_maps";

	assert_lookup(map, "carol@example.com", "all@remote.test");
	assert_lookup(map, "null@example.com", "all@remote.test");
	assert_lookup(map, "blank@example.com", "all@remote.test");
	assert_lookup(map, "off@imap2.test", "none");
	assert_lookup(map, "x@closed.test", "none");
	assert_lookup(map, "odd@imap2.test", "perm");
}
END_TEST

START_TEST(copies_for_other_hosts)
{
	assert_lookup("recipient_bcc_maps", "partner+x@elsewhere.test", "archive@remote.test");
	assert_lookup("recipient_bcc_maps", "other@elsewhere.test", "none");
}
END_TEST

START_TEST(copies_go_to_one_address)
{
	static const char *const wrong[] = {
		"two@imap2.test", "rows@imap2.test",    "cmd@imap2.test",   "file@imap2.test",
		"dom@imap2.test", "include@imap2.test", "commas@imap2.test"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(strcmp(lookup("recipient_bcc_maps", wrong[i]), "perm") == 0, "%s: %s",
			      wrong[i], lookup("recipient_bcc_maps", wrong[i]));
	assert_lookup("recipient_bcc_maps", "root@imap2.test", "root");
}
END_TEST

START_TEST(copies_of_a_sender)
{
	assert_lookup("sender_bcc_maps", "alice+x@example.net", "sent@remote.test");
	assert_lookup("sender_bcc_maps", "carol@example.com", "none");
	assert_lookup("sender_bcc_maps", "judy@imap2.test", "sent-imap2@remote.test");
}
END_TEST

START_TEST(relayhosts_by_sender)
{
	const char *map = "sender_dependent_relayhost_maps";

	assert_lookup(map, "Alice+x@example.com", "[smtp.isp.test]:587");
	assert_lookup(map, "alice@example.net", "[smtp.isp.test]:587");
	assert_lookup(map, "bob@example.com", "relay.isp.test");
	assert_lookup(map, "moved@imap2.test", "DUNNO");
	assert_lookup(map, "judy@imap2.test", "relay.isp.test");
	assert_lookup(map, "back@imap2.test", "relay.isp.test");
	assert_lookup(map, "me@elsewhere.test", "[smtp.elsewhere.test]");
	assert_lookup(map, "you@elsewhere.test", "none");
	assert_lookup(map, "x@closed.test", "none");
	assert_lookup(map, "rows@imap2.test", "perm");
}
END_TEST

START_TEST(relayhost_of_the_null_sender)
{
	const char *map = "sender_dependent_relayhost_maps";

	assert_lookup(map, "<>", "none");
	assert_lookup(map, "\"<>\"", "none");
	mailhost_sql(&host, "INSERT INTO t_relayhost (address, relayhost) VALUES"
			    " ('<>', '[bounces.isp.test]')");
	assert_lookup(map, "<>", "[bounces.isp.test]");
	assert_lookup(map, "\"<>\"", "[bounces.isp.test]");
	assert_lookup(map, "<>@example.com", "relay.isp.test");
	assert_lookup(map, "<x>", "none");
}
END_TEST

START_TEST(passwords_of_destinations)
{
	const char *map = "smtp_sasl_password_maps";

	/* As stored: a password may end in a blank. */
	assert_lookup(map, "[smtp.isp.test]:587", "isp:Pass word ");
	assert_lookup(map, "[SMTP.isp.test]:587", "isp:Pass word ");
	assert_lookup(map, "[smtp.isp.test]", "none");
	assert_lookup(map, "smtp.isp.test:587", "none");
	assert_lookup(map, "smtp.isp.test", "none");
	assert_lookup(map, "mixed.ISP.test", "mixed:x");
	assert_lookup(map, "[2001:DB8::25]", "six:x");
	assert_lookup(map, "/run/lmtp", "unix:x");
	assert_lookup(map, "M\xc3\x9cLLER.test", "idn:x");
	assert_lookup(map, "muller.test", "none");
	assert_lookup(map, "off.test", "none");
	assert_lookup(map, "blank.test", "none");
	assert_lookup(map, "rows.test", "perm");
	assert_lookup(map, "torn.test", "perm");
}
END_TEST

START_TEST(passwords_of_senders_are_for_whole_addresses)
{
	assert_lookup("smtp_sasl_password_maps", "Alice@example.com", "alice:y");
	assert_lookup("smtp_sasl_password_maps", "alice+x@example.com", "none");
	assert_lookup("smtp_sasl_password_maps", "alice@example.net", "none");
	assert_lookup("smtp_sasl_password_maps", "bob@example.com", "none");
	assert_lookup("smtp_sasl_password_maps", "bob.test", "none");
}
END_TEST

START_TEST(tls_policies_for_what_is_asked)
{
	const char *map = "smtp_tls_policy_maps";

	assert_lookup(map, "[smtp.isp.test]:587", "encrypt");
	assert_lookup(map, ".ISP.test", "secure");
	assert_lookup(map, "isp.test", "dane");
	assert_lookup(map, "smtp.isp.test", "none");
	assert_lookup(map, "[isp.test]", "none");
	assert_lookup(map, ".test", "none");
	assert_lookup(map, "off.test", "none");
}
END_TEST

/* Whoever reads a trace or an error may not be meant to read passwords. */
START_TEST(passwords_stay_out_of_traces_and_errors)
{
	static const char *const keys[] = {"[smtp.isp.test]:587", "rows.test", "torn.test"};
	struct trace trace = {BUF_INIT};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct buf answer = BUF_SECRET;
		struct error err = {""};
		enum result result =
			maps_lookup(host.accounts, &host.settings, "smtp_sasl_password_maps",
				    keys[i], strlen(keys[i]), &answer, &trace, &err);

		ck_assert_int_eq(result, i == 0 ? RESULT_FOUND : RESULT_PERM);
		ck_assert_ptr_null(strstr(err.text, "a:"));
		buf_free(&answer);
	}
	ck_assert_ptr_nonnull(strstr(buf_str(&trace.text), "[smtp.isp.test]:587"));
	ck_assert_ptr_null(strstr(buf_str(&trace.text), "Pass"));
	ck_assert_ptr_null(strstr(buf_str(&trace.text), "a:"));
	buf_free(&trace.text);
}
END_TEST

START_TEST(quota_in_bytes)
{
	assert_lookup("quota", "alice@example.net", "104857600");
	assert_lookup("quota", "carol@example.com", "none");
	assert_lookup("quota", "moved@imap2.test", "none");
	assert_lookup("quota", "judy@imap2.test", "none");
	assert_lookup("quota", "sales@example.com", "none");
	mailhost_sql(&host, "UPDATE t_mailbox SET quota = '2097152S,10C'"
			    " WHERE address = 'alice@example.com'");
	assert_lookup("quota", "alice@example.com", "2097152");
}
END_TEST

START_TEST(ids_of_the_row_or_the_owner)
{
	mailhost_configure(&host, "[mail]\nowner = 3001:3002\n");
	assert_lookup("uid", "carol@example.com", "2001");
	assert_lookup("gid", "carol@example.com", "2002");
	assert_lookup("uid", "moved@imap2.test", "2001");
	assert_lookup("gid", "moved@imap2.test", "3002");
	assert_lookup("uid", "alice@example.com", "3001");
	assert_lookup("gid", "alice@example.com", "3002");
	assert_lookup("uid", "nobody@example.com", "none");
	mailhost_configure(&host, "[mail]\nowner = no-such-account-here\n");
	assert_lookup("uid", "alice@example.com", "perm");
}
END_TEST

START_TEST(home_is_an_absolute_path)
{
	mailhost_configure(&host, "[mail]\nbase = /var/mail/v\nsubdirectory = Maildir/\n");
	assert_lookup("home", "carol@example.com", "/srv/carol");
	assert_lookup("home", "moved@imap2.test", "/var/mail/v/imap2/moved");
	assert_lookup("home", "alice@example.com", "/var/mail/v/example.com/alice");
	assert_lookup("home", "pathless@example.org", "perm");
	assert_lookup("home", "sales@example.com", "none");
	mailhost_sql(&host, "UPDATE t_mailbox SET home = '../up' WHERE address LIKE 'moved@%'");
	assert_lookup("home", "moved@imap2.test", "perm");
}
END_TEST

/* The acceptance table of tests/fixtures, on each layout of the PostfixAdmin preset. */

static const char *const layouts[] = {"2.1", "3.3", "4.x", "default"};

static const char *source_folder(void)
{
	const char *top = getenv("POSTERN_TOP_SRCDIR");

	return top ? top : ".";
}

static void load_fixtures(const char *layout)
{
	struct buf sql = BUF_INIT;
	char command[1024], chunk[4096];
	FILE *generator;
	size_t len;

	snprintf(command, sizeof(command),
		 "exec /usr/bin/python3 '%s/tests/fixtures/postfixadmin.py' --driver sqlite "
		 "--layout %s",
		 source_folder(), layout);
	generator = popen(command, "r");
	ck_assert_ptr_nonnull(generator);
	while ((len = fread(chunk, 1, sizeof(chunk), generator)) > 0)
		buf_append(&sql, chunk, len);
	ck_assert_int_eq(pclose(generator), 0);
	ck_assert(buf_ok(&sql));
	mailhost_use(&host, "postfixadmin", buf_str(&sql), "");
	buf_free(&sql);
}

/* Whether LAYOUT is among the comma-separated LIST; NULL: all are. */
static bool holds_for(const char *list, const char *layout)
{
	size_t len = strlen(layout);

	if (!list)
		return true;
	for (const char *p = list; (p = strstr(p, layout)); p += len)
		if ((p == list || p[-1] == ',') && (p[len] == '\0' || p[len] == ','))
			return true;
	return false;
}

/* What lookup() says for the table's ANSWER. */
static const char *said(const char *answer)
{
	return strcmp(answer, "NOTFOUND") == 0 ? "none"
	       : strcmp(answer, "PERM") == 0   ? "perm"
					       : answer;
}

START_TEST(fixtures)
{
	const char *layout = layouts[_i];
	char path[1024], line[4096];
	unsigned count = 0, wrong = 0;
	FILE *table;

	load_fixtures(layout);
	snprintf(path, sizeof(path), "%s/tests/fixtures/expected.tsv", source_folder());
	table = fopen(path, "r");
	ck_assert_msg(table != NULL, "%s", path);
	while (fgets(line, sizeof(line), table)) {
		char *rest = line, *map, *key, *expected;

		line[strcspn(line, "\n")] = '\0';
		if (*line == '#' || *line == '\0')
			continue;
		map = strsep(&rest, "\t");
		key = strsep(&rest, "\t");
		expected = strsep(&rest, "\t");
		ck_assert_msg(expected != NULL, "%s", map);
		if (!holds_for(rest, layout))
			continue;
		count++;
		if (strcmp(lookup(map, key), said(expected)) == 0)
			continue;
		wrong++;
		fprintf(stderr, "layout %s, %s %s: %s, not %s\n", layout, map, key,
			lookup(map, key), said(expected));
	}
	ck_assert_int_eq(fclose(table), 0);
	ck_assert_uint_gt(count, 140);
	ck_assert_uint_eq(wrong, 0);
}
END_TEST

static const struct question {
	const char *map, *key;
} questions[] = {
	{"virtual_mailbox_domains", "example.net"},
	{"virtual_mailbox_domains", "nowhere.test"},
	{"relay_domains", "spare.test"},
	{"relay_domains", "a.b.nowhere.test"},
	{"virtual_mailbox_maps", "alice+x@example.net"},
	{"virtual_mailbox_maps", "nobody@example.net"},
	{"virtual_alias_maps", "sales+x@example.net"},
	{"virtual_alias_maps", "nobody@example.net"},
	{"transport_maps", "judy@imap2.test"},
	{"transport_maps", "nobody@alias.test"},
	{"transport_maps", "example.com"},
	{"relay_recipient_maps", "any@spare.test"},
	{"relay_recipient_maps", "other@also.test"},
	{"smtpd_sender_login_maps", "sales@example.net"},
	{"smtpd_sender_login_maps", "nobody@example.net"},
	{"recipient_bcc_maps", "alice+x@example.net"},
	{"recipient_bcc_maps", "nobody+x@example.net"},
	{"recipient_bcc_maps", "other@elsewhere.test"},
	{"recipient_bcc_maps", "x@ended.test"},
	{"sender_bcc_maps", "alice+x@example.net"},
	{"sender_bcc_maps", "nobody+x@example.net"},
	{"sender_dependent_relayhost_maps", "alice@example.com"},
	{"sender_dependent_relayhost_maps", "nobody@example.net"},
	{"sender_dependent_relayhost_maps", "<>"},
	{"smtp_sasl_password_maps", "[smtp.isp.test]:587"},
	{"smtp_sasl_password_maps", "nowhere.test"},
	{"smtp_tls_policy_maps", ".isp.test"},
	{"smtp_tls_policy_maps", "nowhere.test"},
	{"quota", "alice@example.net"},
	{"uid", "carol@example.com"},
	{"gid", "carol@example.com"},
	{"home", "carol@example.com"},
};

START_TEST(temp_at_every_call)
{
	const struct question *question = &questions[_i];
	char before[2048];
	unsigned count;

	mailhost_configure(&host, "[lookup]\nrelay_subdomains = yes\n");
	mailhost_fail(0, RESULT_FOUND);
	snprintf(before, sizeof(before), "%s", lookup(question->map, question->key));
	count = mailhost_calls();
	ck_assert_uint_gt(count, 0);
	for (unsigned nth = 1; nth <= count; nth++) {
		mailhost_fail(nth, RESULT_TEMP);
		ck_assert_msg(strcmp(lookup(question->map, question->key), "temp") == 0,
			      "%s %s: call %u of %u", question->map, question->key, nth, count);
	}
	mailhost_fail(0, RESULT_FOUND);
	assert_lookup(question->map, question->key, before);
}
END_TEST

START_TEST(temp_without_the_database)
{
	ck_assert_int_eq(unlink(host.database), 0);
	mailhost_configure(&host, "");
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
		assert_lookup(questions[i].map, questions[i].key, "temp");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("maps");
	TCase *tests = tcase_create("maps");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, unknown_map_is_perm);
	tcase_add_test(tests, names_are_those_of_main_cf);
	tcase_add_test(tests, bad_keys_are_none_without_the_database);
	tcase_add_test(tests, odd_keys_are_none_without_the_database);
	tcase_add_test(tests, over_long_keys_are_none);
	tcase_add_test(tests, address_maps_never_answer_a_domain);
	tcase_add_test(tests, domain_maps_never_answer_an_address);
	tcase_add_test(tests, virtual_mailbox_domains_answers_the_domain);
	tcase_add_test(tests, relay_domains_answers_the_domain);
	tcase_add_test(tests, relay_subdomains_on_request);
	tcase_add_test(tests, virtual_mailbox_maps_answers_the_path);
	tcase_add_test(tests, virtual_mailbox_maps_never_answers_empty);
	tcase_add_test(tests, virtual_alias_maps_answers_members);
	tcase_add_test(tests, answers_that_break_the_protocol_are_perm);
	tcase_add_test(tests, answers_over_the_limit_are_perm);
	tcase_add_test(tests, transport_mailbox_before_domain);
	tcase_add_test(tests, transport_of_a_bare_domain);
	tcase_add_test(tests, transport_to_this_host_is_none);
	tcase_add_test(tests, transport_words_are_compared_as_a_whole);
	tcase_add_test(tests, relay_recipients_without_rows_are_all_found);
	tcase_add_test(tests, relay_recipients_with_rows_are_those);
	tcase_add_test(tests, sender_logins);
	tcase_add_test(tests, copies_of_an_address_before_its_domain);
	tcase_add_test(tests, copies_through_an_alias_domain);
	tcase_add_test(tests, copies_only_of_active_rows);
	tcase_add_test(tests, copies_for_other_hosts);
	tcase_add_test(tests, copies_go_to_one_address);
	tcase_add_test(tests, copies_of_a_sender);
	tcase_add_test(tests, relayhosts_by_sender);
	tcase_add_test(tests, relayhost_of_the_null_sender);
	tcase_add_test(tests, passwords_of_destinations);
	tcase_add_test(tests, passwords_of_senders_are_for_whole_addresses);
	tcase_add_test(tests, tls_policies_for_what_is_asked);
	tcase_add_test(tests, passwords_stay_out_of_traces_and_errors);
	tcase_add_test(tests, quota_in_bytes);
	tcase_add_test(tests, ids_of_the_row_or_the_owner);
	tcase_add_test(tests, home_is_an_absolute_path);
	tcase_add_loop_test(tests, temp_at_every_call, 0,
			    (int)(sizeof(questions) / sizeof(questions[0])));
	tcase_add_test(tests, temp_without_the_database);
	tcase_add_loop_test(tests, fixtures, 0, (int)(sizeof(layouts) / sizeof(layouts[0])));
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
