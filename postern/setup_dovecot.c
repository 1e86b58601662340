/*
 * NAME
 *	setup_dovecot - postern setup dovecot
 *
 * DESCRIPTION
 *	Prints what makes Dovecot read the same accounts and the same Maildirs: a drop-in and its
 *	SQL file for 2.3, one drop-in for 2.4. The SQL is the preset's ([dovecot]), with Dovecot
 *	2.3's variables %u, %n and %d, and with these of ours:
 *
 *	@base@	[mail] base
 *	@quota_field@, @quota@	the field that carries a quota in this version of Dovecot, and
 *		its text with '#' for the number of bytes
 *	@mail_field@, @mail@	the same for the place of the mail, with '#' for the path
 *	@layout@	what 2.3 has behind that path for nested folders
 *	@service@	the service that asks: imap, pop3, smtp
 *
 * BUGS
 *	The database password is not printed; its place is marked.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/conf.h"
#include "common/owner.h"
#include "postern/setup.h"

#define SQL_FILE "/etc/dovecot/postern-sql.conf.ext"

enum { ONLY }; /* the options, in main.c's order */

struct version {
	const char *quota_field, *quota;
	const char *mail_field, *mail, *layout;
	const char *service;
	const char *user, *local, *domain; /* for %u, %n, %d */
};
static const struct version version_23 = {
	.quota_field = "quota_rule",
	.quota = "*:bytes=#",
	.mail_field = "mail",
	.mail = "maildir:#",
	.layout = ":LAYOUT=fs",
	.service = "%Ls",
	.user = "%u",
	.local = "%n",
	.domain = "%d",
};
static const struct version version_24 = {
	.quota_field = "quota_storage_size",
	.quota = "#B",
	.mail_field = "mail_path",
	.mail = "#",
	.layout = "",
	.service = "%{protocol | lower}",
	.user = "%{user}",
	.local = "%{user | username}",
	.domain = "%{user | domain}",
};

struct owner {
	char user[64], group[64];
	uid_t uid;
};

/* A value inside an SQL string inside Dovecot's configuration. */
static void append_quoted(struct buf *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\'' || *value == '%')
			buf_putc(out, *value);
		buf_putc(out, *value);
	}
}

/* One variable at TEXT is appended; returns its length, 0 if none stands there. */
static size_t append_variable(struct buf *out, const char *text, const char *base,
			      const struct version *version)
{
	const struct {
		const char *name, *value;
	} variables[] = {
		{"@quota_field@", version->quota_field},
		{"@quota@", version->quota},
		{"@mail_field@", version->mail_field},
		{"@mail@", version->mail},
		{"@layout@", version->layout},
		{"@service@", version->service},
		{"%u", version->user},
		{"%n", version->local},
		{"%d", version->domain},
	};

	if (strncmp(text, "@base@", 6) == 0) {
		append_quoted(out, base);
		return 6;
	}
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
		if (strncmp(text, variables[i].name, strlen(variables[i].name)) == 0) {
			buf_puts(out, variables[i].value);
			return strlen(variables[i].name);
		}
	return 0;
}

static void append_query(struct buf *out, const struct postern *postern, const char *key,
			 const struct version *version)
{
	const char *text = schema_dovecot(postern->schema, key);

	while (*text) {
		size_t used = append_variable(out, text, postern->settings.mail.base, version);

		if (used == 0)
			buf_putc(out, *text);
		text += used ? used : 1;
	}
}

/* Dovecot wants names or numbers; a group that is not given is the user's own. */
static int find_owner(const struct postern *postern, struct owner *owner_r)
{
	const char *owner = postern->settings.mail.owner;
	const size_t len = strcspn(owner, ":");
	const struct group *group;
	struct error err = {""};
	uid_t uid;
	gid_t gid;

	*owner_r = (struct owner){.uid = (uid_t)-1};
	snprintf(owner_r->user, sizeof(owner_r->user), "%.*s", (int)len, owner);
	snprintf(owner_r->group, sizeof(owner_r->group), "%s",
		 owner[len] == ':' ? owner + len + 1 : owner_r->user);
	if (owner_parse(owner, &uid, &gid, &err) != RESULT_FOUND)
		return postern_fail(postern, EX_CONFIG, "[mail] owner: %s", err.text);
	owner_r->uid = uid;
	group = getgrgid(gid);
	if (group)
		snprintf(owner_r->group, sizeof(owner_r->group), "%s", group->gr_name);
	else
		snprintf(owner_r->group, sizeof(owner_r->group), "%" PRIu32, (uint32_t)gid);
	return EX_OK;
}

static const char *default_scheme(const struct postern *postern)
{
	const char *scheme = postern->settings.schema.password_scheme;

	if (!scheme[0])
		scheme = schema_default(postern->schema, "password_scheme", "");
	return scheme[0] ? scheme : "CRYPT";
}

/* "~/" and what [mail] subdirectory puts below the mail path. */
static void append_mail_path(struct buf *out, const struct postern *postern)
{
	const char *subdirectory = postern->settings.mail.subdirectory;

	subdirectory += strspn(subdirectory, "/");
	buf_printf(out, "~/%s", subdirectory);
}

static void append_common(struct buf *out, const struct owner *owner)
{
	buf_printf(out, "mail_uid = %s\nmail_gid = %s\n", owner->user, owner->group);
	if (owner->uid < 500)
		buf_printf(out, "first_valid_uid = %" PRIu32 "\n", (uint32_t)owner->uid);
}

static void append_drop_in_23(struct buf *out, const struct postern *postern,
			      const struct owner *owner)
{
	buf_puts(out, "mail_location = maildir:");
	append_mail_path(out, postern);
	buf_putc(out, '\n');
	append_common(out, owner);
	buf_puts(out, "mail_plugins = $mail_plugins quota\n"
		      "protocol imap {\n"
		      "  mail_plugins = $mail_plugins imap_quota\n"
		      "}\n"
		      "plugin {\n"
		      "  quota = maildir:User quota\n"
		      "}\n"
		      "passdb {\n"
		      "  driver = sql\n"
		      "  args = " SQL_FILE "\n"
		      "}\n"
		      "userdb {\n"
		      "  driver = sql\n"
		      "  args = " SQL_FILE "\n"
		      "}\n");
}

/* HOST, HOST:PORT, [V6]:PORT or /socket, as sql.h has them. PORT_R is "" without one. */
static void split_host(const char *word, char *host_r, char *port_r, size_t size)
{
	const char *colon = word[0] == '/' ? NULL : strrchr(word, ':');
	const char *close = strchr(word, ']');
	size_t len;

	if (colon && ((close && colon < close) || (!close && strchr(word, ':') != colon)))
		colon = NULL; /* a bare IPv6 address */
	len = colon ? (size_t)(colon - word) : strlen(word);
	if (word[0] == '[' && len > 1 && word[len - 1] == ']') {
		word++;
		len -= 2;
	}
	snprintf(host_r, size, "%.*s", (int)len, word);
	snprintf(port_r, size, "%s", colon ? colon + 1 : "");
}

static void append_connect_23(struct buf *out, const struct postern *postern)
{
	const struct settings *settings = &postern->settings;
	const char *hosts = settings->database.hosts;
	char word[256], host[256], port[256];

	if (strcmp(settings->database.driver, "sqlite") == 0) {
		buf_printf(out, "driver = sqlite\nconnect = %s\n", settings->database.path);
		return;
	}
	buf_puts(out, "driver = mysql\nconnect =");
	while (conf_next_word(&hosts, word, sizeof(word))) {
		split_host(word, host, port, sizeof(host));
		buf_printf(out, " host=%s", host);
		if (port[0])
			buf_printf(out, " port=%s", port);
	}
	buf_printf(out, " dbname=%s user=%s password=PASSWORD\n", settings->database.name,
		   settings->database.user);
}

static void append_sql_23(struct buf *out, const struct postern *postern)
{
	append_connect_23(out, postern);
	buf_printf(out, "default_pass_scheme = %s\npassword_query = ", default_scheme(postern));
	append_query(out, postern, "password_query", &version_23);
	buf_puts(out, "\nuser_query = ");
	append_query(out, postern, "user_query", &version_23);
	buf_puts(out, "\niterate_query = ");
	append_query(out, postern, "iterate_query", &version_23);
	buf_putc(out, '\n');
}

static void append_connect_24(struct buf *out, const struct postern *postern)
{
	const struct settings *settings = &postern->settings;
	const char *hosts = settings->database.hosts;
	char word[256], host[256], port[256];

	buf_printf(out, "sql_driver = %s\n", settings->database.driver);
	if (strcmp(settings->database.driver, "sqlite") == 0) {
		buf_printf(out, "sqlite_path = %s\n", settings->database.path);
		return;
	}
	while (conf_next_word(&hosts, word, sizeof(word))) {
		split_host(word, host, port, sizeof(host));
		buf_printf(out, "mysql %s {\n", host);
		if (port[0])
			buf_printf(out, "  port = %s\n", port);
		buf_printf(out, "  dbname = %s\n  user = %s\n  password = PASSWORD\n}\n",
			   settings->database.name, settings->database.user);
	}
}

static void append_drop_in_24(struct buf *out, const struct postern *postern,
			      const struct owner *owner)
{
	buf_puts(out, "mail_driver = maildir\nmail_path = ");
	append_mail_path(out, postern);
	buf_putc(out, '\n');
	append_common(out, owner);
	append_connect_24(out, postern);
	buf_printf(out,
		   "passdb sql {\n"
		   "  default_password_scheme = %s\n"
		   "  query = ",
		   default_scheme(postern));
	append_query(out, postern, "password_query", &version_24);
	buf_puts(out, "\n}\nuserdb sql {\n  query = ");
	append_query(out, postern, "user_query", &version_24);
	buf_puts(out, "\n  iterate_query = ");
	append_query(out, postern, "iterate_query", &version_24);
	buf_puts(out, "\n}\n"
		      "mail_plugins {\n"
		      "  quota = yes\n"
		      "}\n"
		      "protocol imap {\n"
		      "  mail_plugins {\n"
		      "    imap_quota = yes\n"
		      "  }\n"
		      "}\n"
		      "quota \"User quota\" {\n"
		      "  driver = maildir\n"
		      "}\n");
}

int setup_dovecot(struct postern *postern, const struct arguments *arguments)
{
	static const char *const keys[] = {"password_query", "user_query", "iterate_query"};
	struct setup_file files[] = {
		{"dovecot-2.3.conf",
		 "Dovecot 2.3: /etc/dovecot/conf.d/99-postern.conf. Remove the other passdb and\n"
		 "userdb (in conf.d/10-auth.conf: the !include of auth-system.conf.ext). Needs\n"
		 "Dovecot's module for the database (Debian: dovecot-sqlite or dovecot-mysql).",
		 BUF_INIT},
		{"dovecot-2.3-sql.conf.ext",
		 "Dovecot 2.3: " SQL_FILE ", owner root, mode 0600. For MySQL,\n"
		 "put the database password in the place of PASSWORD.",
		 BUF_INIT},
		{"dovecot-2.4.conf",
		 "Dovecot 2.4: /etc/dovecot/conf.d/99-postern.conf, owner root, mode 0600. Remove\n"
		 "the other passdb and userdb. For MySQL, put the database password in the place\n"
		 "of PASSWORD.",
		 BUF_INIT},
	};
	struct owner owner;
	int code = postern_schema(postern);

	for (size_t i = 0; code == EX_OK && i < sizeof(keys) / sizeof(*keys); i++)
		if (!schema_dovecot(postern->schema, keys[i]))
			code = postern_fail(postern, EX_UNAVAILABLE,
					    "the preset %s has no [dovecot] %s",
					    schema_name(postern->schema), keys[i]);
	if (code == EX_OK)
		code = find_owner(postern, &owner);
	if (code != EX_OK)
		return code;
	append_drop_in_23(&files[0].text, postern, &owner);
	append_sql_23(&files[1].text, postern);
	append_drop_in_24(&files[2].text, postern, &owner);
	return setup_print(postern, arguments->options[ONLY], files, 3);
}
