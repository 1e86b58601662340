/*
 * test_resolve - the rules of resolution, one named test each, on a real SQLite database
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/resolve.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "tests/unit/mailhost.h"

static const char rows[] =
	"INSERT INTO t_domain (name) VALUES ('example.com'), ('example.org'), ('imap2.test');"
	"INSERT INTO t_domain (name, active) VALUES ('closed.test', 0);"
	"INSERT INTO t_domain (name, relay) VALUES ('backup.test', 1);"
	/* Of alias domains one has a row of its own, as in PostfixAdmin, the others none. */
	"INSERT INTO t_domain (name) VALUES ('example.net');"
	"INSERT INTO t_target (name, target) VALUES ('example.net', 'Example.COM'),"
	" ('two.test', 'example.net'), ('gone.test', 'nowhere.test'), ('shut.test', 'closed.test'),"
	" ('self.test', 'self.test'), ('spool.test', 'backup.test'), ('@old.test', '@example.com'),"
	" ('odd.test', 'not a domain');"
	"INSERT INTO t_target (name, target, active) VALUES ('off.test', 'example.com', 0);"
	"INSERT INTO t_mailbox (address, path) VALUES ('alice@example.com', 'example.com/alice/'),"
	" ('carol@example.com', 'example.com/carol/'), ('list+owner@example.com', 'lo/'),"
	" ('o''brien@example.com', 'ob/'), ('a b@example.com', 'ab/'), ('frank@example.org', 'f/'),"
	" ('dave@closed.test', 'd/'), ('müller@example.com', 'm/'), ('rick@backup.test', 'r/'),"
	" ('paused@example.com', 'p/'), ('both@example.com', 'bo/'), ('void@example.com', 'v/');"
	"INSERT INTO t_mailbox (address, path, active) VALUES ('bob@example.com', 'b/', 0),"
	" ('gina@example.org', 'g/', 0), ('kept@example.org', 'k/', 0), ('twin@example.org', 't/', "
	"0);"
	"INSERT INTO t_mailbox (address, path, may_receive) VALUES ('deaf@example.org', 'x/', 0);"
	"INSERT INTO t_alias (address, members) VALUES ('@example.org', 'alice@example.com'),"
	" ('sales@example.com', ' alice@example.com, ,bob@example.com ,'),"
	" ('alice@example.com', 'alice@example.com'), ('anna@example.com', 'bob@example.com'),"
	" ('anna+x@example.com', 'carol@example.com'), ('mixed@example.com', 'Bob@Example.COM'),"
	" ('kept@example.org', 'kept@example.org,carol@example.com'),"
	" ('twin@example.org', 'twin@example.org, TWIN@example.org'),"
	" ('empty@example.com', ''), ('commas@example.org', ' , ,'),"
	" ('void@example.com', ''), ('move@example.com', '@example.org'),"
	" ('root@example.com', 'root'), ('quoted@example.com', '\"x, y\"@example.com'),"
	" ('cmd@example.com', '|/bin/true'), ('file@example.com', '\"/var/x\"'),"
	" ('inc@example.com', ':Include:/etc/passwd'), ('half@example.com', '\"| x, y\", "
	"alice@example.com'),"
	" ('c1@example.com', 'c2@example.com'), ('c2@example.com', 'alice@example.com'),"
	" ('loop1@example.com', 'loop2@example.com'), ('loop2@example.com', 'loop1@example.com'),"
	" ('shared@example.com', 'carol@example.com'), ('rel@backup.test', 'alice@example.com'),"
	" ('both@example.com', 'both@example.com,carol@example.com'),"
	" ('@old.test', '@example.com'), ('info@old.test', 'carol@example.com');"
	"INSERT INTO t_alias (address, members, active) VALUES"
	" ('info@example.org', 'alice@example.com', 0), ('paused@example.com', "
	"'carol@example.com', 0),"
	" ('@imap2.test', 'alice@example.com', 0);";

static struct mailhost host;

static void with_ini(const char *ini)
{
	mailhost_open(&host, rows, ini);
}

static void setup(void)
{
	with_ini("");
}

/* The same with a preset that answers the usual case in one question. */
static void setup_resident(void)
{
	static const char query[] =
		"[query resident]\n"
		"sql = \"SELECT m.*, d.name AS domain_name, d.relay AS domain_relay, d.active AS "
		"domain_active, d.transport AS domain_transport, t.target AS domain_target "
		"FROM t_mailbox m CROSS JOIN t_domain d "
		"LEFT JOIN t_target t ON t.name IN (:domain, :catchall) "
		"WHERE m.address = :address AND d.name = :domain\"\n";
	FILE *preset;

	setup();
	preset = fopen(host.own_preset, "a");
	ck_assert_ptr_nonnull(preset);
	ck_assert_int_ge(fputs(query, preset), 0);
	ck_assert_int_eq(fclose(preset), 0);
	mailhost_configure(&host, "");
}

static void teardown(void)
{
	mailhost_close(&host);
}

/* What virtual_alias_maps says: the members, "NONE", "TEMP ..." or "PERM ...". */
static const char *members_of(const char *key)
{
	static char text[2048];
	struct resolved resolved;
	struct error err = {""};
	enum result result = resolve_address(host.accounts, &host.settings, key, strlen(key),
					     &resolved, NULL, &err);

	snprintf(text, sizeof(text), "%s", result == RESULT_NONE ? "NONE" : "");
	if (result == RESULT_TEMP || result == RESULT_PERM)
		snprintf(text, sizeof(text), "%s", result == RESULT_TEMP ? "TEMP" : "PERM");
	if (result == RESULT_FOUND)
		snprintf(text, sizeof(text), "%s", buf_str(&resolved.members));
	if (result == RESULT_FOUND)
		resolved_free(&resolved);
	else
		ck_assert_ptr_null(resolved.key);
	return text;
}

/* What resolve_mailbox() says: "path extension", "NONE", "ALIAS". */
static const char *mailbox_of(const char *key)
{
	static char text[512];
	struct mailbox mailbox;
	struct buf extension = BUF_INIT;
	struct error err = {""};
	bool is_alias = true;
	enum result result = resolve_mailbox(host.accounts, &host.settings, key, strlen(key),
					     &mailbox, &extension, &is_alias, NULL, &err);

	if (result == RESULT_FOUND)
		snprintf(text, sizeof(text), "%s%s%s", mailbox.path, extension.len ? " " : "",
			 buf_str(&extension));
	else if (result == RESULT_NONE)
		snprintf(text, sizeof(text), "%s", is_alias ? "ALIAS" : "NONE");
	else
		snprintf(text, sizeof(text), "%s", result_name(result));
	mailbox_free(&mailbox);
	buf_free(&extension);
	return text;
}

static const char *login_of(const char *login)
{
	static char text[512];
	struct mailbox mailbox;
	struct error err = {""};
	enum result result = resolve_login(host.accounts, &host.settings, login, strlen(login),
					   &mailbox, NULL, &err);

	snprintf(text, sizeof(text), "%s",
		 result == RESULT_FOUND  ? mailbox.address
		 : result == RESULT_NONE ? "NONE"
					 : result_name(result));
	mailbox_free(&mailbox);
	return text;
}

static const char *senders_of(const char *key)
{
	static char text[2048];
	struct buf logins = BUF_INIT;
	struct error err = {""};
	enum result result = resolve_sender_logins(host.accounts, &host.settings, key, strlen(key),
						   &logins, NULL, &err);

	snprintf(text, sizeof(text), "%s",
		 result == RESULT_FOUND  ? buf_str(&logins)
		 : result == RESULT_NONE ? "NONE"
					 : result_name(result));
	buf_free(&logins);
	return text;
}

/* "local", "relay" or "NONE", and the target behind a blank. */
static const char *domain_of(const char *name)
{
	static char text[512];
	struct resolved_domain resolved;
	struct error err = {""};
	enum result result = resolve_domain(host.accounts, name, &resolved, NULL, &err);

	ck_assert_msg(result == RESULT_FOUND || result == RESULT_NONE, "%s", err.text);
	if (result == RESULT_NONE) {
		ck_assert_ptr_null(resolved.target);
		ck_assert_ptr_null(resolved.domain.name);
		return "NONE";
	}
	snprintf(text, sizeof(text), "%s%s%s",
		 resolved.domain.kind == DOMAIN_LOCAL ? "local" : "relay",
		 resolved.target ? " " : "", resolved.target ? resolved.target : "");
	resolved_domain_free(&resolved);
	return text;
}

#define assert_members(key, expected) ck_assert_str_eq(members_of(key), expected)
#define assert_mailbox(key, expected) ck_assert_str_eq(mailbox_of(key), expected)
#define assert_login(key, expected)   ck_assert_str_eq(login_of(key), expected)
#define assert_senders(key, expected) ck_assert_str_eq(senders_of(key), expected)
#define assert_domain(key, expected)  ck_assert_str_eq(domain_of(key), expected)

/* Step 1: domains */

START_TEST(domain_kinds)
{
	assert_domain("example.com", "local");
	assert_domain("backup.test", "relay");
	assert_domain("nowhere.test", "NONE");
}
END_TEST

START_TEST(domain_inactive_is_absent)
{
	assert_domain("closed.test", "NONE");
	assert_members("dave@closed.test", "NONE");
	assert_mailbox("dave@closed.test", "NONE");
}
END_TEST

START_TEST(domain_alias_with_and_without_own_row)
{
	assert_domain("example.net", "local example.com");
	assert_domain("old.test", "local example.com");
	assert_domain("spool.test", "relay backup.test");
}
END_TEST

START_TEST(domain_alias_of_inactive_or_absent_is_absent)
{
	assert_domain("shut.test", "NONE");
	assert_domain("gone.test", "NONE");
	assert_domain("odd.test", "NONE");
}
END_TEST

START_TEST(domain_alias_row_inactive)
{
	assert_domain("off.test", "NONE");
}
END_TEST

START_TEST(domain_alias_is_one_level_deep)
{
	assert_domain("two.test", "local example.net");
	assert_members("alice@two.test", "NONE");
}
END_TEST

START_TEST(domain_alias_of_itself_is_none)
{
	assert_domain("self.test", "NONE");
}
END_TEST

/* Keys */

START_TEST(key_needs_local_part_and_domain)
{
	static const char *const keys[] = {"",   "*",      "alice",  "@example.com",
					   "<>", "\"<>\"", "alice@", "@"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		mailhost_fail(0, RESULT_FOUND);
		assert_members(keys[i], "NONE");
		assert_mailbox(keys[i], "NONE");
		assert_senders(keys[i], "NONE");
		ck_assert_uint_eq(mailhost_calls(), 0);
	}
}
END_TEST

START_TEST(key_with_bad_bytes_never_reaches_the_database)
{
	static const char *const keys[] = {"a\tb@example.com", "alice@example.com ",
					   " alice@example.com", "a\xff@example.com",
					   "a\x7f@example.com"};
	char longest[1100];

	memset(longest, 'a', sizeof(longest));
	memcpy(longest + sizeof(longest) - 13, "@example.com", 13);
	mailhost_fail(0, RESULT_FOUND);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		assert_members(keys[i], "NONE");
	assert_members(longest, "NONE");
	ck_assert_uint_eq(mailhost_calls(), 0);
}
END_TEST

START_TEST(key_is_folded)
{
	assert_members("CAROL@EXAMPLE.com", "carol@example.com");
	assert_mailbox("MÜLLER@example.com", "m/");
}
END_TEST

START_TEST(key_is_unquoted_and_the_answer_quoted)
{
	assert_members("\"a b\"@example.com", "\"a b\"@example.com");
	assert_members("a b@example.com", "\"a b\"@example.com");
	assert_members("\"alice\"@example.com", "alice@example.com");
	assert_mailbox("\"a b\"@example.com", "ab/");
	assert_members("o'brien@example.com", "o'brien@example.com");
}
END_TEST

/* Step 2: rows */

START_TEST(mailbox_answers_itself)
{
	assert_members("carol@example.com", "carol@example.com");
	assert_members("alice@example.com", "alice@example.com");
	assert_members("frank@example.org", "frank@example.org");
}
END_TEST

START_TEST(exact_extension_before_stripped)
{
	assert_members("anna+x@example.com", "carol@example.com");
	assert_members("list+owner@example.com", "list+owner@example.com");
	assert_mailbox("list+owner@example.com", "lo/");
}
END_TEST

START_TEST(extension_is_split_at_the_first_delimiter)
{
	assert_members("anna+y+z@example.com", "bob+y+z@example.com");
	assert_mailbox("carol+a+b@example.com", "example.com/carol/ +a+b");
}
END_TEST

START_TEST(extension_keeps_its_bytes)
{
	assert_members("Anna+News@example.com", "bob+News@example.com");
	assert_mailbox("carol+News@EXAMPLE.com", "example.com/carol/ +News");
}
END_TEST

START_TEST(extension_empty_is_kept)
{
	assert_members("anna+@example.com", "bob+@example.com");
	assert_members("carol+@example.com", "carol+@example.com");
}
END_TEST

START_TEST(extension_goes_to_each_member)
{
	assert_members("sales+x@example.com", "alice+x@example.com,bob+x@example.com");
	assert_members("root+x@example.com", "root+x");
	assert_members("mixed+x@example.com", "Bob+x@Example.COM");
}
END_TEST

START_TEST(extension_into_quoted_member)
{
	assert_members("quoted+x@example.com", "\"x, y+x\"@example.com");
	assert_members("\"anna+a b\"@example.com", "\"bob+a b\"@example.com");
	assert_members("\"root+a b\"@example.com", "\"root+a b\"");
}
END_TEST

START_TEST(extension_never_to_domain_members)
{
	assert_members("move+x@example.com", "@example.org");
}
END_TEST

START_TEST(extension_is_not_propagated_when_switched_off)
{
	mailhost_configure(&host, "[address]\npropagate_extension = no\n");
	assert_members("anna+x1@example.com", "bob@example.com");
	assert_members("carol+x@example.com", "carol@example.com");
}
END_TEST

START_TEST(extension_needs_a_delimiter)
{
	mailhost_configure(&host, "[address]\nrecipient_delimiter =\n");
	assert_members("anna+y@example.com", "NONE");
	mailhost_configure(&host, "[address]\nrecipient_delimiter = -+\n");
	assert_members("anna-y@example.com", "bob-y@example.com");
}
END_TEST

START_TEST(alias_domain_leads_to_target)
{
	assert_members("carol+News@example.net", "carol+News@example.com");
	assert_members("sales@example.net", "alice@example.com,bob@example.com");
	assert_members("\"a b\"@example.net", "\"a b\"@example.com");
	assert_mailbox("carol@example.net", "example.com/carol/");
	assert_mailbox("list+owner@example.net", "lo/");
}
END_TEST

START_TEST(alias_domain_of_a_row_has_what_its_target_has)
{
	assert_members("carol+x@old.test", "carol+x@example.com");
	assert_members("nobody@old.test", "NONE");
	assert_members("info@old.test", "carol@example.com");
}
END_TEST

/* Step 3: catch-alls */

START_TEST(catchall_answers_without_extension)
{
	assert_members("zzz+y@example.org", "alice@example.com");
	assert_mailbox("zzz@example.org", "NONE");
}
END_TEST

START_TEST(catchall_own_before_target)
{
	mailhost_sql(&host, "INSERT INTO t_alias (address, members) VALUES"
			    " ('@example.com', 'target@x.test')");
	assert_members("zzz@example.net", "target@x.test");
	mailhost_sql(&host, "INSERT INTO t_alias (address, members) VALUES"
			    " ('@example.net', 'own@x.test')");
	assert_members("zzz@example.net", "own@x.test");
	assert_members("carol@example.net", "carol@example.com");
	assert_members("zzz@old.test", "target@x.test");
}
END_TEST

START_TEST(catchall_inactive_ends_the_search)
{
	assert_members("zzz@imap2.test", "NONE");
	mailhost_sql(&host,
		     "INSERT INTO t_alias (address, members, active) VALUES"
		     " ('@example.com', 'target@x.test', 1), ('@example.net', 'x@x.test', 0)");
	assert_members("zzz@example.net", "NONE");
	mailhost_configure(&host, "[address]\ninactive = catchall\n");
	assert_members("zzz@example.net", "target@x.test");
}
END_TEST

/* Step 4: inactive rows */

START_TEST(inactive_alias_ends_the_search)
{
	assert_members("info@example.org", "NONE");
	assert_members("info+x@example.org", "NONE");
	assert_mailbox("info@example.org", "NONE");
}
END_TEST

START_TEST(inactive_mailbox_ends_the_search)
{
	assert_members("gina@example.org", "NONE");
	assert_members("bob@example.com", "NONE");
	assert_mailbox("gina@example.org", "NONE");
	assert_members("deaf@example.org", "NONE");
	assert_mailbox("deaf@example.org", "NONE");
}
END_TEST

START_TEST(inactive_goes_to_the_catchall_when_asked_for)
{
	mailhost_configure(&host, "[address]\ninactive = catchall\n");
	assert_members("info@example.org", "alice@example.com");
	assert_members("gina@example.org", "alice@example.com");
}
END_TEST

START_TEST(inactive_mailbox_is_no_member_of_its_own_alias)
{
	assert_members("kept@example.org", "carol@example.com");
	assert_members("kept+x@example.org", "carol+x@example.com");
	assert_members("twin@example.org", "NONE");
	assert_mailbox("kept@example.org", "ALIAS");
}
END_TEST

START_TEST(inactive_alias_leaves_an_active_mailbox)
{
	assert_members("paused@example.com", "paused@example.com");
	assert_mailbox("paused@example.com", "p/");
}
END_TEST

/* Step 5: members */

START_TEST(members_are_trimmed_and_empty_ones_dropped)
{
	assert_members("sales@example.com", "alice@example.com,bob@example.com");
}
END_TEST

START_TEST(members_pass_as_they_stand)
{
	assert_members("mixed@example.com", "Bob@Example.COM");
	assert_members("root@example.com", "root");
	assert_members("quoted@example.com", "\"x, y\"@example.com");
}
END_TEST

static char logged[2048];

static void remember(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	snprintf(logged, sizeof(logged), "%s", line);
}

START_TEST(members_refused_are_dropped_and_logged)
{
	log_set_sink(remember, NULL);
	logged[0] = '\0';
	assert_members("half@example.com", "alice@example.com");
	log_set_sink(NULL, NULL);
	ck_assert_ptr_nonnull(strstr(logged, "half@example.com"));
	ck_assert_ptr_nonnull(strstr(logged, "| x"));
}
END_TEST

START_TEST(members_all_refused_is_perm)
{
	assert_members("cmd@example.com", "PERM");
	assert_members("file@example.com", "PERM");
	assert_members("inc+x@example.com", "PERM");
	mailhost_sql(&host, "UPDATE t_alias SET members = '|x' WHERE address = '@example.org'");
	assert_members("zzz@example.org", "PERM");
}
END_TEST

START_TEST(members_none_is_none)
{
	assert_members("empty@example.com", "NONE");
	assert_members("commas@example.org", "NONE");
	assert_members("void@example.com", "void@example.com");
	mailhost_sql(&host, "UPDATE t_alias SET members = '' WHERE address = '@example.org'");
	assert_members("zzz@example.org", "NONE");
}
END_TEST

START_TEST(members_null_is_none)
{
	mailhost_sql(&host, "UPDATE t_alias SET members = NULL WHERE address = 'c1@example.com'");
	assert_members("c1@example.com", "NONE");
}
END_TEST

START_TEST(members_of_a_loop_are_answered_once)
{
	assert_members("loop1@example.com", "loop2@example.com");
}
END_TEST

START_TEST(members_of_relay_domains_are_expanded)
{
	assert_members("rel@backup.test", "alice@example.com");
	assert_mailbox("rick@backup.test", "NONE");
}
END_TEST

/* Section 4: recipients and logins */

START_TEST(mailbox_not_alias)
{
	assert_mailbox("sales@example.com", "ALIAS");
	assert_mailbox("sales+x@example.com", "ALIAS");
	assert_mailbox("alice@example.com", "example.com/alice/");
	assert_mailbox("nobody@example.com", "NONE");
	assert_mailbox("anna+x@example.com", "ALIAS");
}
END_TEST

START_TEST(login_is_folded_and_led_to_the_target)
{
	assert_login("Carol@Example.COM", "carol@example.com");
	assert_login("carol@example.net", "carol@example.com");
	assert_login("carol@old.test", "carol@example.com");
	assert_login("deaf@example.org", "deaf@example.org");
	assert_login("rick@backup.test", "rick@backup.test");
}
END_TEST

START_TEST(login_refuses)
{
	assert_login("bob@example.com", "NONE");
	assert_login("dave@closed.test", "NONE");
	assert_login("sales@example.com", "NONE");
	assert_login("carol+x@example.com", "NONE");
	assert_login("carol", "NONE");
	assert_login("", "NONE");
	assert_login("carol\n", "NONE");
	assert_login("@example.com", "NONE");
}
END_TEST

START_TEST(login_bare_gets_the_default_domain)
{
	mailhost_configure(&host, "[address]\ndefault_domain = example.com\n");
	assert_login("Carol", "carol@example.com");
	assert_login("carol@example.org", "NONE");
}
END_TEST

/* Sender logins */

START_TEST(sender_mailbox_itself)
{
	assert_senders("carol@example.com", "carol@example.com");
	assert_senders("Carol+Tag@example.net", "carol@example.com");
	assert_senders("nobody@example.com", "NONE");
	assert_senders("someone@remote.test", "NONE");
}
END_TEST

START_TEST(sender_through_aliases_of_any_depth)
{
	assert_senders("c1@example.com", "alice@example.com");
	assert_senders("shared@example.com", "carol@example.com");
	assert_senders("both@example.com", "both@example.com,carol@example.com");
	assert_senders("sales@example.net", "alice@example.com");
	assert_senders("move@example.com", "NONE");
	mailhost_sql(&host, "INSERT INTO t_alias (address, members) VALUES"
			    " ('frank@example.com', '@example.org')");
	assert_senders("frank@example.com", "frank@example.org");
}
END_TEST

START_TEST(sender_loop_ends)
{
	assert_senders("loop1@example.com", "NONE");
	mailhost_sql(&host, "UPDATE t_alias SET members = 'loop1@example.com,carol@example.com'"
			    " WHERE address = 'loop2@example.com'");
	assert_senders("loop1@example.com", "carol@example.com");
}
END_TEST

START_TEST(sender_bars)
{
	mailhost_sql(&host,
		     "UPDATE t_mailbox SET may_send = 0 WHERE address = 'carol@example.com'");
	assert_senders("carol@example.com", "NONE");
	assert_senders("both@example.com", "both@example.com");
	assert_senders("bob@example.com", "NONE");
	assert_senders("dave@closed.test", "NONE");
	mailhost_sql(&host, "INSERT INTO t_alias (address, members) VALUES"
			    " ('far@example.com', 'dave@closed.test')");
	assert_senders("far@example.com", "NONE");
}
END_TEST

START_TEST(sender_not_through_catchalls)
{
	assert_senders("zzz@example.org", "NONE");
	mailhost_configure(&host, "[address]\ncatchall_grants = yes\n");
	assert_senders("zzz@example.org", "alice@example.com");
	assert_senders("frank@example.org", "frank@example.org");
}
END_TEST

START_TEST(sender_by_grant)
{
	mailhost_sql(&host,
		     "INSERT INTO t_grant VALUES ('sales@example.com', 'carol@example.com'),"
		     " ('sales@example.com', 'system'), ('sales@example.com', 'bob@example.com'),"
		     " ('c2@example.com', 'frank@example.org')");
	assert_senders("sales@example.com", "alice@example.com,carol@example.com,system");
	assert_senders("sales+x@example.net", "alice@example.com,carol@example.com,system");
	assert_senders("c1@example.com", "alice@example.com");
}
END_TEST

START_TEST(sender_list_holds_no_login_that_would_split)
{
	assert_senders("\"a b\"@example.com", "NONE");
	mailhost_sql(&host, "INSERT INTO t_mailbox (address, path) VALUES"
			    " ('x,alice@example.com', 'x/')");
	assert_senders("\"x,alice\"@example.com", "NONE");
}
END_TEST

START_TEST(sender_reaching_too_many_is_perm)
{
	mailhost_sql(
		&host,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100)"
		" INSERT INTO t_alias (address, members) SELECT 'huge@example.com', "
		"group_concat('u' || i || '@example.com') FROM n");
	assert_senders("huge@example.com", "perm");
	mailhost_sql(
		&host,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
		" UPDATE t_alias SET members = (SELECT group_concat('u' || i || '@example.com')"
		" || ',carol@example.com' FROM n) WHERE address = 'huge@example.com'");
	assert_senders("huge@example.com", "carol@example.com");
}
END_TEST

/* TEMP beats everything: whichever call to the database fails, the answer is that failure. */

typedef const char *asker(const char *key);

static const struct question {
	asker *ask;
	const char *key, *answer, *ini;
} questions[] = {
	{members_of, "sales+x@example.net", "alice+x@example.com,bob+x@example.com", ""},
	{members_of, "zzz@example.org", "alice@example.com", ""},
	{members_of, "nobody@example.net", "NONE", ""},
	{members_of, "kept@example.org", "carol@example.com", ""},
	{members_of, "gina@example.org", "alice@example.com", "[address]\ninactive = catchall\n"},
	{members_of, "cmd@example.com", "PERM", ""},
	{members_of, "someone@remote.test", "NONE", ""},
	{mailbox_of, "carol+x@example.net", "example.com/carol/ +x", ""},
	{mailbox_of, "carol@example.com", "example.com/carol/", ""},
	{mailbox_of, "nobody@example.net", "NONE", ""},
	{mailbox_of, "sales@example.com", "ALIAS", ""},
	{login_of, "carol@example.net", "carol@example.com", ""},
	{login_of, "nobody@old.test", "NONE", ""},
	{senders_of, "c1@example.com", "alice@example.com", ""},
	{senders_of, "sales@example.net", "alice@example.com", ""},
	{senders_of, "nobody@example.net", "NONE", ""},
	{senders_of, "zzz@example.org", "alice@example.com", "[address]\ncatchall_grants = yes\n"},
};

START_TEST(temp_at_every_call)
{
	const struct question *question = &questions[_i];
	unsigned count;

	mailhost_configure(&host, question->ini);
	mailhost_fail(0, RESULT_FOUND);
	ck_assert_str_eq(question->ask(question->key), question->answer);
	count = mailhost_calls();
	ck_assert_uint_gt(count, 0);
	for (unsigned nth = 1; nth <= count; nth++) {
		const char *answer;

		mailhost_fail(nth, RESULT_TEMP);
		answer = question->ask(question->key);
		ck_assert_msg(strcasecmp(answer, "temp") == 0, "call %u of %u: %s", nth, count,
			      answer);
		mailhost_fail(nth, RESULT_PERM);
		answer = question->ask(question->key);
		ck_assert_msg(strcasecmp(answer, "perm") == 0, "call %u of %u: %s", nth, count,
			      answer);
	}
	/* And nothing of it stays behind. */
	mailhost_fail(0, RESULT_FOUND);
	ck_assert_str_eq(question->ask(question->key), question->answer);
}
END_TEST

START_TEST(data_error_hurts_only_its_key)
{
	/* The driver says NONE to a key that the column's character set cannot hold. */
	mailhost_fail(1, RESULT_NONE);
	assert_members("carol@example.com", "NONE");
	assert_members("carol@example.com", "carol@example.com");
}
END_TEST

/* Traces */

START_TEST(trace_explains)
{
	static const char key[] = "Sales+x@example.net";
	struct trace trace = {.text = BUF_INIT};
	struct resolved resolved;
	struct error err;
	const char *text;

	ck_assert_int_eq(resolve_address(host.accounts, &host.settings, key, strlen(key), &resolved,
					 &trace, &err),
			 RESULT_FOUND);
	text = buf_str(&trace.text);
	ck_assert_ptr_nonnull(strstr(text, "domain example.net: alias of Example.COM\n"));
	ck_assert_ptr_nonnull(strstr(text, "alias sales+x@example.net: no row\n"));
	ck_assert_ptr_nonnull(strstr(text, "mailbox sales@example.net: no row\n"));
	ck_assert_ptr_nonnull(strstr(text, "alias sales@example.com: active, members \" alice@"));
	ck_assert_ptr_nonnull(strstr(text, "answer: alice+x@example.com,bob+x@example.com\n"));
	ck_assert_int_eq(resolved.by, RESOLVED_BY_ALIAS);
	ck_assert_str_eq(resolved.key, "sales@example.com");
	ck_assert_str_eq(resolved.extension, "+x");
	resolved_free(&resolved);
	buf_free(&trace.text);
}
END_TEST

START_TEST(trace_lines_cannot_be_forged)
{
	struct trace trace = {.text = BUF_INIT};

	trace_add(&trace, "members \"%s\"", "a\nanswer: \033[31mb");
	ck_assert_str_eq(buf_str(&trace.text), "members \"a?answer: ?[31mb\"\n");
	trace_add(NULL, "nothing");
	buf_free(&trace.text);
}
END_TEST

START_TEST(resolved_tells_by_what)
{
	static const char catchall[] = "zzz@example.org", itself[] = "carol+A@example.net";
	struct resolved resolved;
	struct error err;

	ck_assert_int_eq(resolve_address(host.accounts, &host.settings, catchall, strlen(catchall),
					 &resolved, NULL, &err),
			 RESULT_FOUND);
	ck_assert_int_eq(resolved.by, RESOLVED_BY_CATCHALL);
	ck_assert_str_eq(resolved.key, "@example.org");
	ck_assert_str_eq(resolved.extension, "");
	resolved_free(&resolved);
	ck_assert_int_eq(resolve_address(host.accounts, &host.settings, itself, strlen(itself),
					 &resolved, NULL, &err),
			 RESULT_FOUND);
	ck_assert_int_eq(resolved.by, RESOLVED_BY_MAILBOX);
	ck_assert_str_eq(resolved.mailbox.path, "example.com/carol/");
	ck_assert_str_eq(resolved.extension, "+A");
	resolved_free(&resolved);
}
END_TEST

/* Calls of the database: one to execute, one to step. */
#define assert_calls(key, answer, count)                                                           \
	do {                                                                                       \
		mailhost_fail(0, RESULT_FOUND);                                                    \
		assert_mailbox(key, answer);                                                       \
		ck_assert_uint_eq(mailhost_calls(), count);                                        \
	} while (0)

START_TEST(resident_takes_one_question)
{
	assert_calls("Carol@Example.com", "example.com/carol/", 2);
	assert_calls("list+owner@example.com", "lo/", 2);
	/* The less usual takes more, with the same answer. */
	assert_mailbox("carol+x@example.com", "example.com/carol/ +x");
}
END_TEST

START_TEST(resident_only_of_a_good_domain)
{
	assert_mailbox("dave@closed.test", "NONE");
	assert_mailbox("rick@backup.test", "NONE");
	mailhost_sql(&host,
		     "UPDATE t_domain SET transport = ' relay:x' WHERE name = 'example.com'");
	assert_mailbox("carol@example.com", "example.com/carol/");
	mailhost_sql(&host, "UPDATE t_domain SET active = 0 WHERE name = 'example.com'");
	assert_mailbox("carol@example.com", "NONE");
	mailhost_sql(&host, "UPDATE t_domain SET active = 'maybe' WHERE name = 'example.com'");
	assert_mailbox("carol@example.com", "perm");
}
END_TEST

START_TEST(resident_not_of_an_alias_domain)
{
	mailhost_sql(&host, "INSERT INTO t_mailbox (address, path) VALUES"
			    " ('carol@example.net', 'wrong/')");
	assert_mailbox("carol@example.net", "wrong/");
	mailhost_sql(&host, "UPDATE t_domain SET active = 0 WHERE name = 'example.com'");
	assert_mailbox("carol@example.net", "NONE");
}
END_TEST

START_TEST(resident_must_receive)
{
	assert_mailbox("bob@example.com", "NONE");
	assert_mailbox("deaf@example.org", "NONE");
	mailhost_sql(&host, "DELETE FROM t_alias WHERE address = 'paused@example.com'");
	assert_mailbox("paused@example.com", "p/");
	mailhost_sql(&host, "UPDATE t_mailbox SET active = 0 WHERE address = 'paused@example.com'");
	assert_mailbox("paused@example.com", "NONE");
}
END_TEST

static void add_resident_tests(TCase *tests)
{
	tcase_add_test(tests, resident_only_of_a_good_domain);
	tcase_add_test(tests, resident_not_of_an_alias_domain);
	tcase_add_test(tests, resident_must_receive);
}

static void add_domain_tests(TCase *tests)
{
	tcase_add_test(tests, domain_kinds);
	tcase_add_test(tests, domain_inactive_is_absent);
	tcase_add_test(tests, domain_alias_with_and_without_own_row);
	tcase_add_test(tests, domain_alias_of_inactive_or_absent_is_absent);
	tcase_add_test(tests, domain_alias_row_inactive);
	tcase_add_test(tests, domain_alias_is_one_level_deep);
	tcase_add_test(tests, domain_alias_of_itself_is_none);
	tcase_add_test(tests, key_needs_local_part_and_domain);
	tcase_add_test(tests, key_with_bad_bytes_never_reaches_the_database);
	tcase_add_test(tests, key_is_folded);
	tcase_add_test(tests, key_is_unquoted_and_the_answer_quoted);
}

static void add_row_tests(TCase *tests)
{
	tcase_add_test(tests, mailbox_answers_itself);
	tcase_add_test(tests, exact_extension_before_stripped);
	tcase_add_test(tests, extension_is_split_at_the_first_delimiter);
	tcase_add_test(tests, extension_keeps_its_bytes);
	tcase_add_test(tests, extension_empty_is_kept);
	tcase_add_test(tests, extension_goes_to_each_member);
	tcase_add_test(tests, extension_into_quoted_member);
	tcase_add_test(tests, extension_never_to_domain_members);
	tcase_add_test(tests, extension_is_not_propagated_when_switched_off);
	tcase_add_test(tests, extension_needs_a_delimiter);
	tcase_add_test(tests, alias_domain_leads_to_target);
	tcase_add_test(tests, alias_domain_of_a_row_has_what_its_target_has);
	tcase_add_test(tests, catchall_answers_without_extension);
	tcase_add_test(tests, catchall_own_before_target);
	tcase_add_test(tests, catchall_inactive_ends_the_search);
	tcase_add_test(tests, inactive_alias_ends_the_search);
	tcase_add_test(tests, inactive_mailbox_ends_the_search);
	tcase_add_test(tests, inactive_goes_to_the_catchall_when_asked_for);
	tcase_add_test(tests, inactive_mailbox_is_no_member_of_its_own_alias);
	tcase_add_test(tests, inactive_alias_leaves_an_active_mailbox);
}

static void add_member_tests(TCase *tests)
{
	tcase_add_test(tests, members_are_trimmed_and_empty_ones_dropped);
	tcase_add_test(tests, members_pass_as_they_stand);
	tcase_add_test(tests, members_refused_are_dropped_and_logged);
	tcase_add_test(tests, members_all_refused_is_perm);
	tcase_add_test(tests, members_none_is_none);
	tcase_add_test(tests, members_null_is_none);
	tcase_add_test(tests, members_of_a_loop_are_answered_once);
	tcase_add_test(tests, members_of_relay_domains_are_expanded);
}

static void add_other_tests(TCase *tests)
{
	tcase_add_test(tests, mailbox_not_alias);
	tcase_add_test(tests, login_is_folded_and_led_to_the_target);
	tcase_add_test(tests, login_refuses);
	tcase_add_test(tests, login_bare_gets_the_default_domain);
	tcase_add_test(tests, sender_mailbox_itself);
	tcase_add_test(tests, sender_through_aliases_of_any_depth);
	tcase_add_test(tests, sender_loop_ends);
	tcase_add_test(tests, sender_bars);
	tcase_add_test(tests, sender_not_through_catchalls);
	tcase_add_test(tests, sender_by_grant);
	tcase_add_test(tests, sender_list_holds_no_login_that_would_split);
	tcase_add_test(tests, sender_reaching_too_many_is_perm);
	tcase_add_loop_test(tests, temp_at_every_call, 0,
			    (int)(sizeof(questions) / sizeof(questions[0])));
	tcase_add_test(tests, data_error_hurts_only_its_key);
	tcase_add_test(tests, trace_explains);
	tcase_add_test(tests, trace_lines_cannot_be_forged);
	tcase_add_test(tests, resolved_tells_by_what);
}

static TCase *add_rules(Suite *suite, const char *name, void (*begin)(void))
{
	TCase *tests = tcase_create(name);

	tcase_add_checked_fixture(tests, begin, teardown);
	tcase_set_timeout(tests, 60);
	add_domain_tests(tests);
	add_row_tests(tests);
	add_member_tests(tests);
	add_other_tests(tests);
	add_resident_tests(tests);
	suite_add_tcase(suite, tests);
	return tests;
}

int main(void)
{
	Suite *suite = suite_create("resolve");
	SRunner *runner;
	int failed;

	add_rules(suite, "rules", setup);
	tcase_add_test(add_rules(suite, "rules, the usual case in one question", setup_resident),
		       resident_takes_one_question);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
