/*
 * NAME
 *	settings - the option table of postern.ini
 *
 * DESCRIPTION
 *	The one place that names an option, its type, default, range and whether SIGHUP applies it.
 *	postern.ini(5) is compared with it by a test. After the table, the checks that need more
 *	than one key, or a look at another file.
 *
 * BUGS
 *	[greylist] is accepted so that today's file stays valid later; it can only say "no".
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/settings.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/map_template.h"
#include "common/secret.h"

#define AT(member)    offsetof(struct settings, member)
#define LIMIT(member) offsetof(struct settings_limit, member)
#define MAP(member)   offsetof(struct settings_map, member)

#define SPOOL "/var/spool/postfix/postern/"

#define SECOND  INT64_C(1000)
#define MINUTE  (60 * SECOND)
#define DAY     (24 * 60 * MINUTE)
#define MIB     (INT64_C(1) << 20)
#define GIB     (INT64_C(1) << 30)
#define THREADS 1, 1024
#define CLIENTS 1, 1000000

static const struct conf_option options[] = {
	{"database", "driver", CONF_CHOICE, AT(database.driver), "sqlite", 0, 0, "sqlite mysql",
	 CONF_RELOAD, "kind of the database"},
	{"database", "path", CONF_PATH, AT(database.path), "/var/lib/postern/mail.sqlite", 0, 0,
	 NULL, CONF_RELOAD, "file of an SQLite database"},
	{"database", "hosts", CONF_STRING, AT(database.hosts), "", 0, 0, NULL, CONF_RELOAD,
	 "MySQL hosts in order of preference: HOST, HOST:PORT, [IPV6]:PORT or /socket"},
	{"database", "name", CONF_STRING, AT(database.name), "", 0, 0, NULL, CONF_RELOAD,
	 "name of the MySQL database"},
	{"database", "user", CONF_STRING, AT(database.user), "", 0, 0, NULL, CONF_RELOAD,
	 "MySQL account"},
	{"database", "password", CONF_STRING, AT(database.password), "", 0, 0, NULL,
	 CONF_RELOAD | CONF_SECRET, "password of the MySQL account"},
	{"database", "password_file", CONF_PATH, AT(database.password_file), "", 0, 0, NULL,
	 CONF_RELOAD, "file whose first line is that password"},
	{"database", "tls", CONF_CHOICE, AT(database.tls), "prefer", 0, 0,
	 "off prefer require verify", CONF_RELOAD, "encryption of the MySQL connection"},
	{"database", "tls_ca", CONF_PATH, AT(database.tls_ca), "", 0, 0, NULL, CONF_RELOAD,
	 "certificates that verify MySQL hosts"},
	{"database", "connect_timeout", CONF_DURATION, AT(database.connect_timeout), "2s", 100,
	 MINUTE, NULL, CONF_RELOAD, "how long one host may take to answer a connection"},
	{"database", "query_timeout", CONF_DURATION, AT(database.query_timeout), "3s", 100, MINUTE,
	 NULL, CONF_RELOAD, "how long one query may take"},
	{"database", "retry_interval", CONF_DURATION, AT(database.retry_interval), "1s", 10, MINUTE,
	 NULL, CONF_RELOAD, "how long a host that failed is left alone"},

	{"schema", "preset", CONF_STRING, AT(schema.preset), "postfixadmin", 0, 0, NULL,
	 CONF_RELOAD, "name of a preset, or the path of a file of queries"},
	{"schema", "password_scheme", CONF_STRING, AT(schema.password_scheme), "", 0, 0, NULL,
	 CONF_RELOAD, "scheme of stored passwords without a prefix; empty: the preset's"},

	{"address", "recipient_delimiter", CONF_STRING, AT(address.recipient_delimiter), "+", 0, 0,
	 NULL, CONF_RELOAD, "characters that begin an extension; empty: no extensions"},
	{"address", "default_domain", CONF_STRING, AT(address.default_domain), "", 0, 0, NULL,
	 CONF_RELOAD, "domain of logins without one; empty: they are refused"},
	{"address", "propagate_extension", CONF_BOOL, AT(address.propagate_extension), "yes", 0, 0,
	 NULL, CONF_RELOAD, "append the extension to the members of an alias"},
	{"address", "inactive", CONF_CHOICE, AT(address.inactive), "reject", 0, 0,
	 "reject catchall", CONF_RELOAD, "whether a catch-all takes mail for inactive addresses"},
	{"address", "catchall_grants", CONF_BOOL, AT(address.catchall_grants), "no", 0, 0, NULL,
	 CONF_RELOAD, "whether the target of a catch-all may send as any address of the domain"},

	{"mail", "base", CONF_PATH, AT(mail.base), "/var/mail/postern", 0, 0, NULL, CONF_RELOAD,
	 "folder below which all mailboxes lie"},
	{"mail", "owner", CONF_STRING, AT(mail.owner), "vmail", 0, 0, NULL, 0,
	 "user, or user:group, that owns the mail; lmtp-deliver runs as it"},
	{"mail", "subdirectory", CONF_STRING, AT(mail.subdirectory), "", 0, 0, NULL, CONF_RELOAD,
	 "appended to the mail path of the schema, such as Maildir/"},
	{"mail", "identity", CONF_CHOICE, AT(mail.identity), "owner", 0, 0, "owner account", 0,
	 "who owns the files: [mail] owner, or the account where the schema names a uid"},
	{"mail", "minimum_uid", CONF_INTEGER, AT(mail.minimum_uid), "100", 1, 4000000000, NULL,
	 CONF_RELOAD, "lowest uid and gid of an account that is delivered to"},

	{"lookup", "listen", CONF_STRING, AT(lookup.listen), SPOOL "lookup", 0, 0, NULL, 0,
	 "where postfix-lookup listens: /path or HOST:PORT, several with blanks between"},
	{"lookup", "user", CONF_STRING, AT(lookup.user), "postern", 0, 0, NULL, 0,
	 "account that postfix-lookup runs as; empty: the one that starts it"},
	{"lookup", "socket_mode", CONF_MODE, AT(lookup.socket_mode), "0660", 0, 0777, NULL, 0,
	 "mode of the Unix sockets"},
	{"lookup", "socket_group", CONF_STRING, AT(lookup.socket_group), "postfix", 0, 0, NULL, 0,
	 "group of the Unix sockets; empty: unchanged"},
	{"lookup", "workers", CONF_INTEGER, AT(lookup.workers), "16", THREADS, NULL, 0,
	 "requests answered at the same time"},
	{"lookup", "database_handles", CONF_INTEGER, AT(lookup.database_handles), "8", 1, 1024,
	 NULL, 0, "connections to the database; half of the workers at most are used"},
	{"lookup", "max_connections", CONF_INTEGER, AT(lookup.max_connections), "4096", CLIENTS,
	 NULL, 0, "connections held; further ones wait"},
	{"lookup", "positive_ttl", CONF_DURATION, AT(lookup.positive_ttl), "60s", 0, DAY, NULL,
	 CONF_RELOAD, "how long an answer is remembered; 0: not at all"},
	{"lookup", "negative_ttl", CONF_DURATION, AT(lookup.negative_ttl), "5s", 0, DAY, NULL,
	 CONF_RELOAD, "how long \"not found\" is remembered; 0: not at all"},
	{"lookup", "stale_ttl", CONF_DURATION, AT(lookup.stale_ttl), "1d", 0, 30 * DAY, NULL,
	 CONF_RELOAD, "how long beyond that an answer serves while the database is away; 0: never"},
	{"lookup", "cache_size", CONF_SIZE, AT(lookup.cache_size), "64M", 0, 64 * GIB, NULL,
	 CONF_RELOAD, "memory for remembered answers; 0: none are"},
	{"lookup", "relay_subdomains", CONF_BOOL, AT(lookup.relay_subdomains), "no", 0, 0, NULL,
	 CONF_RELOAD, "relay_domains holds for subdomains, too"},
	{"lookup", "local_transports", CONF_STRING, AT(lookup.local_transports), "", 0, 0, NULL,
	 CONF_RELOAD, "more transport values that mean this host"},

	{"map *", "query", CONF_STRING, MAP(query), NULL, 0, 0, NULL, CONF_RELOAD,
	 "the statement, with parameters: :key, :local, :domain, :label1 to :label9, :text1 to "
	 ":text5"},
	{"map *", "text1", CONF_STRING, MAP(text[0]), "", 0, 0, NULL, CONF_RELOAD,
	 "what :text1 is made of, such as x{key.local}"},
	{"map *", "text2", CONF_STRING, MAP(text[1]), "", 0, 0, NULL, CONF_RELOAD,
	 "what :text2 is made of"},
	{"map *", "text3", CONF_STRING, MAP(text[2]), "", 0, 0, NULL, CONF_RELOAD,
	 "what :text3 is made of"},
	{"map *", "text4", CONF_STRING, MAP(text[3]), "", 0, 0, NULL, CONF_RELOAD,
	 "what :text4 is made of"},
	{"map *", "text5", CONF_STRING, MAP(text[4]), "", 0, 0, NULL, CONF_RELOAD,
	 "what :text5 is made of"},
	{"map *", "key", CONF_CHOICE, MAP(key), "any", 0, 0, "address domain any", CONF_RELOAD,
	 "which keys are asked; others are not found"},
	{"map *", "domains", CONF_STRING, MAP(domains), "", 0, 0, NULL, CONF_RELOAD,
	 "only addresses of these domains are asked; empty: any key"},
	{"map *", "search", CONF_CHOICE, MAP(search), "exact", 0, 0, "exact full transport",
	 CONF_RELOAD, "which keys are derived from the one that Postfix sends"},
	{"map *", "append_extension", CONF_BOOL, MAP(append_extension), "yes", 0, 0, NULL,
	 CONF_RELOAD, "append the extension to the addresses found without it"},
	{"map *", "result", CONF_STRING, MAP(result), "{value}", 0, 0, NULL, CONF_RELOAD,
	 "what a value becomes"},
	{"map *", "limit", CONF_INTEGER, MAP(limit), "0", 0, 1000000, NULL, CONF_RELOAD,
	 "most values of one answer; 0: any number"},
	{"map *", "require_result", CONF_BOOL, MAP(require_result), "yes", 0, 0, NULL, CONF_RELOAD,
	 "whether a statement that returns no table is an error, or finds nothing"},
	{"map *", "positive_ttl", CONF_STRING, MAP(positive_ttl), "", 0, 0, NULL, CONF_RELOAD,
	 "how long an answer is remembered; empty: as [lookup] says"},
	{"map *", "negative_ttl", CONF_STRING, MAP(negative_ttl), "", 0, 0, NULL, CONF_RELOAD,
	 "how long \"not found\" is remembered; empty: as [lookup] says"},

	{"lmtp", "listen", CONF_STRING, AT(lmtp.listen), SPOOL "lmtp", 0, 0, NULL, 0,
	 "where lmtp-deliver listens"},
	{"lmtp", "socket_mode", CONF_MODE, AT(lmtp.socket_mode), "0660", 0, 0777, NULL, 0,
	 "mode of the Unix sockets"},
	{"lmtp", "socket_group", CONF_STRING, AT(lmtp.socket_group), "postfix", 0, 0, NULL, 0,
	 "group of the Unix sockets; empty: unchanged"},
	{"lmtp", "workers", CONF_INTEGER, AT(lmtp.workers), "32", THREADS, NULL, 0,
	 "sessions served at the same time"},
	{"lmtp", "max_connections", CONF_INTEGER, AT(lmtp.max_connections), "512", CLIENTS, NULL, 0,
	 "connections held; further ones wait"},
	{"lmtp", "hostname", CONF_STRING, AT(lmtp.hostname), "", 0, 0, NULL, CONF_RELOAD,
	 "name in the greeting and in Received lines; empty: the host's"},
	{"lmtp", "max_size", CONF_SIZE, AT(lmtp.max_size), "100M", 1024, 16 * GIB, NULL,
	 CONF_RELOAD, "largest message"},
	{"lmtp", "max_recipients", CONF_INTEGER, AT(lmtp.max_recipients), "1000", 1, 100000, NULL,
	 CONF_RELOAD, "recipients of one transaction; further ones are deferred"},
	{"lmtp", "timeout", CONF_DURATION, AT(lmtp.timeout), "5m", SECOND, 60 * MINUTE, NULL,
	 CONF_RELOAD, "how long a client may be silent"},
	{"lmtp", "expand_aliases", CONF_BOOL, AT(lmtp.expand_aliases), "no", 0, 0, NULL,
	 CONF_RELOAD, "deliver to the mailboxes of an alias instead of refusing it"},
	{"lmtp", "quota_full", CONF_CHOICE, AT(lmtp.quota_full), "defer", 0, 0, "defer reject",
	 CONF_RELOAD, "answer for a full mailbox: 452 4.2.2 or 552 5.2.2"},

	{"lmtp", "tls_certificate", CONF_PATH, AT(lmtp.tls_certificate), "", 0, 0, NULL,
	 CONF_RELOAD, "certificate chain (PEM) for STARTTLS over TCP; empty: not offered"},
	{"lmtp", "tls_key", CONF_PATH, AT(lmtp.tls_key), "", 0, 0, NULL, CONF_RELOAD,
	 "its private key (PEM); empty: it is in tls_certificate"},
	{"lmtp", "tls", CONF_CHOICE, AT(lmtp.tls), "offer", 0, 0, "offer require", CONF_RELOAD,
	 "whether clients over TCP must use STARTTLS"},
	{"lmtp", "auth", CONF_CHOICE, AT(lmtp.auth), "required", 0, 0, "required off", CONF_RELOAD,
	 "whether clients over TCP must log in"},
	{"lmtp", "auth_users", CONF_STRING, AT(lmtp.auth_users), "", 0, 0, NULL, CONF_RELOAD,
	 "logins that may deliver over TCP"},
	{"lmtp", "auth_mechanisms", CONF_STRING, AT(lmtp.auth_mechanisms),
	 "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-1", 0, 0, NULL, CONF_RELOAD,
	 "SASL mechanisms; PLAIN and LOGIN inside TLS only"},
	{"lmtp", "received", CONF_BOOL, AT(lmtp.received), "no", 0, 0, NULL, CONF_RELOAD,
	 "add a Received line to each message"},
	{"lmtp", "max_hops", CONF_INTEGER, AT(lmtp.max_hops), "100", 1, 1000, NULL, CONF_RELOAD,
	 "Received lines at which a message is refused as looping"},
	{"lmtp", "folders", CONF_CHOICE, AT(lmtp.folders), "existing", 0, 0, "no existing create",
	 CONF_RELOAD, "whether user+folder delivers into a folder"},
	{"lmtp", "folder_max", CONF_INTEGER, AT(lmtp.folder_max), "100", 1, 100000, NULL,
	 CONF_RELOAD, "folders of a user at which none is created any more"},
	{"lmtp", "folder_encoding", CONF_CHOICE, AT(lmtp.folder_encoding), "utf-7", 0, 0,
	 "utf-7 utf-8", CONF_RELOAD, "how the IMAP server writes folder names on disk"},
	{"lmtp", "subscribe", CONF_CHOICE, AT(lmtp.subscribe), "dovecot", 0, 0,
	 "no dovecot courier both", CONF_RELOAD, "whose list of subscriptions gets a new folder"},
	{"lmtp", "guard", CONF_DURATION, AT(lmtp.guard), "10m", 0, 24 * 60 * MINUTE, NULL,
	 CONF_RELOAD, "how long a message whose reply was lost is not stored again; 0: off"},

	{"quota", "warn", CONF_STRING, AT(quota.warn), "", 0, 0, NULL, CONF_RELOAD,
	 "percentages of a quota at which the user is warned, such as 80 90; empty: never"},
	{"quota", "warn_sender", CONF_STRING, AT(quota.warn_sender), "postmaster", 0, 0, NULL,
	 CONF_RELOAD, "From address of warnings; the user's domain is added where it has none"},
	{"quota", "warn_text", CONF_PATH, AT(quota.warn_text), "", 0, 0, NULL, CONF_RELOAD,
	 "file with header and text of warnings; empty: our own text"},
	{"quota", "trash", CONF_CHOICE, AT(quota.trash), "count", 0, 0, "count skip", CONF_RELOAD,
	 "whether .Trash and messages marked as deleted count"},
	{"quota", "publish", CONF_BOOL, AT(quota.publish), "no", 0, 0, NULL, CONF_RELOAD,
	 "write the usage of mailboxes into the database"},
	{"quota", "publish_interval", CONF_DURATION, AT(quota.publish_interval), "5s", SECOND,
	 60 * MINUTE, NULL, CONF_RELOAD, "how often"},
	{"quota", "lock_timeout", CONF_DURATION, AT(quota.lock_timeout), "10s", SECOND, 5 * MINUTE,
	 NULL, CONF_RELOAD, "how long a delivery waits for others to the same mailbox"},

	{"policy", "listen", CONF_STRING, AT(policy.listen), SPOOL "policy", 0, 0, NULL, 0,
	 "where policyd listens"},
	{"policy", "user", CONF_STRING, AT(policy.user), "postern", 0, 0, NULL, 0,
	 "account that policyd runs as; empty: the one that starts it"},
	{"policy", "socket_mode", CONF_MODE, AT(policy.socket_mode), "0660", 0, 0777, NULL, 0,
	 "mode of the Unix sockets"},
	{"policy", "socket_group", CONF_STRING, AT(policy.socket_group), "postfix", 0, 0, NULL, 0,
	 "group of the Unix sockets; empty: unchanged"},
	{"policy", "workers", CONF_INTEGER, AT(policy.workers), "16", THREADS, NULL, 0,
	 "requests answered at the same time"},
	{"policy", "max_connections", CONF_INTEGER, AT(policy.max_connections), "4096", CLIENTS,
	 NULL, 0, "connections held; further ones wait"},
	{"policy", "mailbox_quota", CONF_BOOL, AT(policy.mailbox_quota), "yes", 0, 0, NULL,
	 CONF_RELOAD, "refuse mail for full mailboxes"},
	{"policy", "quota_grace", CONF_SIZE, AT(policy.quota_grace), "0", 0, 64 * GIB, NULL,
	 CONF_RELOAD, "bytes over its quota at which a mailbox counts as full"},

	{"limit *", "key", CONF_CHOICE, LIMIT(key), "sasl_user", 0, 0,
	 "sasl_user sender sender_domain client_ip recipient global", CONF_RELOAD,
	 "what is counted apart"},
	{"limit *", "count", CONF_CHOICE, LIMIT(count), "recipients", 0, 0, "recipients messages",
	 CONF_RELOAD, "what is counted"},
	{"limit *", "max", CONF_INTEGER, LIMIT(max), NULL, 0, INT64_C(1000000000), NULL,
	 CONF_RELOAD, "how many are allowed in one window"},
	{"limit *", "window", CONF_DURATION, LIMIT(window), "1h", SECOND, 30 * DAY, NULL,
	 CONF_RELOAD, "length of the window"},
	{"limit *", "verdict", CONF_CHOICE, LIMIT(verdict), "defer", 0, 0, "defer reject warn",
	 CONF_RELOAD, "what happens above it"},

	{"greylist", "enabled", CONF_CHOICE, AT(greylist.enabled), "no", 0, 0, "no", CONF_RELOAD,
	 "greylisting comes in a later version"},

	{"auth", "saslauthd", CONF_STRING, AT(auth.saslauthd), "", 0, 0, NULL, 0,
	 "where sasl-authd answers saslauthd's protocol; empty: nowhere"},
	{"auth", "authdaemond", CONF_STRING, AT(auth.authdaemond), "", 0, 0, NULL, 0,
	 "where sasl-authd answers authdaemond's protocol; empty: nowhere"},
	{"auth", "user", CONF_STRING, AT(auth.user), "postern", 0, 0, NULL, 0,
	 "account that sasl-authd runs as; empty: the one that starts it"},
	{"auth", "socket_mode", CONF_MODE, AT(auth.socket_mode), "0660", 0, 0777, NULL, 0,
	 "mode of the Unix sockets"},
	{"auth", "socket_group", CONF_STRING, AT(auth.socket_group), "postfix", 0, 0, NULL, 0,
	 "group of the Unix sockets; empty: unchanged"},
	{"auth", "workers", CONF_INTEGER, AT(auth.workers), "16", THREADS, NULL, 0,
	 "passwords verified at the same time"},
	{"auth", "max_connections", CONF_INTEGER, AT(auth.max_connections), "1024", CLIENTS, NULL,
	 0, "connections held; further ones wait"},
	{"auth", "max_rounds", CONF_INTEGER, AT(auth.max_rounds), "1000000", 1000, 100000000, NULL,
	 CONF_RELOAD, "most rounds of a stored hash (SHA-crypt, PBKDF2, SCRAM) that are computed"},
	{"auth", "max_memory", CONF_SIZE, AT(auth.max_memory), "256M", MIB, 16 * GIB, NULL,
	 CONF_RELOAD, "most memory for one stored hash (Argon2, scrypt, yescrypt)"},

	{"log", "level", CONF_CHOICE, AT(log.level), "info", 0, 0, "error warning info debug",
	 CONF_RELOAD, "least important lines that are logged"},
	{"log", "target", CONF_CHOICE, AT(log.target), "stderr", 0, 0, "stderr syslog", 0,
	 "where log lines go; syslog: facility mail"},

	{"metrics", "listen", CONF_STRING, AT(metrics.listen), "", 0, 0, NULL, 0,
	 "where /metrics and /healthz are served, the first free one of several; empty: nowhere"},
	{NULL, NULL, CONF_STRING, 0, NULL, 0, 0, NULL, 0, NULL},
};

static const struct conf_family families[] = {
	{"limit *", AT(limits), AT(limit_count), sizeof(struct settings_limit)},
	{"map *", AT(maps), AT(map_count), sizeof(struct settings_map)},
	{NULL, 0, 0, 0},
};

const struct conf_table settings_table = {options, families, sizeof(struct settings)};

struct check {
	const char *file;
	struct buf *mistakes;
	struct error *err;
	bool failed;
};

static void mistake(struct check *check, const char *format, ...) PRINTF_LIKE(2, 3);

static void mistake(struct check *check, const char *format, ...)
{
	struct error text;
	va_list args;
	va_start(args, format);
	vsnprintf(text.text, sizeof(text.text), format, args);
	va_end(args);
	if (check->file != NULL)
		error_prefix(&text, "%s", check->file);
	if (!check->failed)
		error_set(check->err, "%s", text.text);
	if (check->mistakes != NULL)
		buf_printf(check->mistakes, "%s\n", text.text);
	check->failed = true;
}

static void check_database(struct check *check, const struct settings *settings)
{
	if (strcmp(settings->database.driver, "sqlite") == 0) {
		/* A file that names hosts wants them; SQLite would be taken in silence. */
		if (settings->database.hosts[0] != '\0')
			mistake(check, "[database] hosts: is for driver = mysql, but driver is "
				       "sqlite");
		if (settings->database.path[0] == '\0')
			mistake(check, "[database] path: driver = sqlite needs it");
		return;
	}
	if (settings->database.hosts[0] == '\0')
		mistake(check, "[database] hosts: driver = mysql needs at least one");
	if (settings->database.name[0] == '\0')
		mistake(check, "[database] name: driver = mysql needs it");
}

static void read_password(struct check *check, struct settings *settings)
{
	if (settings->database.password_file[0] == '\0')
		return;
	if (settings->database.password[0] != '\0') {
		mistake(check, "[database] password_file: give password or password_file, not "
			       "both");
		return;
	}
	struct buf secret = BUF_SECRET;
	struct error why;
	enum result result = secret_read_file(settings->database.password_file, &secret, &why);
	char *text = result == RESULT_FOUND ? buf_take(&secret) : NULL;
	if (text == NULL) {
		mistake(check, "[database] password_file: %s",
			result == RESULT_FOUND ? "out of memory" : why.text);
	} else {
		secret_free(&settings->database.password);
		settings->database.password = text;
	}
	buf_free(&secret);
}

static void check_address(struct check *check, const struct settings *settings)
{
	for (const char *c = settings->address.recipient_delimiter; *c != '\0'; c++) {
		if ((unsigned char)*c > '~' || !ispunct((unsigned char)*c) ||
		    strchr("@\"\\", *c) != NULL) {
			mistake(check,
				"[address] recipient_delimiter: \"%s\": only ASCII "
				"punctuation other than '@', '\"' and '\\'",
				settings->address.recipient_delimiter);
			break;
		}
	}
	if (strpbrk(settings->address.default_domain, "@ \t/") != NULL)
		mistake(check, "[address] default_domain: \"%s\" is not one domain name",
			settings->address.default_domain);
}

static void check_mail(struct check *check, const struct settings *settings)
{
	if (settings->mail.owner[0] == '\0')
		mistake(check, "[mail] owner: needs a user, or user:group");
	const char *below = settings->mail.subdirectory;
	if (below[0] == '/' || strstr(below, "..") != NULL)
		mistake(check, "[mail] subdirectory: \"%s\" leads out of the mailbox", below);
	if (settings->schema.preset[0] == '\0')
		mistake(check, "[schema] preset: needs a name or a path");
}

static void check_quota(struct check *check, const struct settings *settings)
{
	const char *cursor = settings->quota.warn;
	char word[16];
	int64_t percent;

	while (conf_next_word(&cursor, word, sizeof(word)))
		if (!conf_parse_integer(word, &percent) || percent < 1 || percent > 100)
			mistake(check, "[quota] warn: \"%s\" is not a percentage from 1 to 100",
				word);
	if (cursor == NULL)
		mistake(check, "[quota] warn: \"%.80s\": percentages from 1 to 100, such as 80 90",
			settings->quota.warn);
	if (settings->quota.warn_sender[0] == '\0' ||
	    strpbrk(settings->quota.warn_sender, " \t<>,") != NULL)
		mistake(check, "[quota] warn_sender: \"%.80s\" is not one address",
			settings->quota.warn_sender);
}

static void check_template(struct check *check, const struct settings_map *map, const char *key,
			   const char *text, bool result)
{
	struct error why;

	if (map_template_check(text, result, &why) != RESULT_FOUND)
		mistake(check, "[map %s] %s: %s", map->name, key, why.text);
}

/* *MS_R: what TEXT says, or FALLBACK when it says nothing. */
static void check_ttl(struct check *check, const struct settings_map *map, const char *key,
		      const char *text, int64_t fallback, int64_t *ms_r)
{
	*ms_r = fallback;
	if (text[0] != '\0' && (!conf_parse_duration(text, ms_r) || *ms_r > DAY))
		mistake(check, "[map %s] %s: \"%.80s\" is not a time from 0 to 1d", map->name, key,
			text);
}

static void check_map(struct check *check, const struct settings *settings,
		      struct settings_map *map)
{
	char word[256], domain[ADDRESS_MAX + 1];
	const char *cursor = map->domains;

	if (strlen(map->name) > SETTINGS_MAP_NAME_MAX || strpbrk(map->name, " \t") != NULL)
		mistake(check, "[map %s]: the name has at most %d bytes and no blank", map->name,
			SETTINGS_MAP_NAME_MAX);
	if (map->query[strspn(map->query, " ")] == '\0')
		mistake(check, "[map %s] query: is empty", map->name);
	while (conf_next_word(&cursor, word, sizeof(word)))
		if (!address_domain(domain, word, strlen(word)))
			mistake(check, "[map %s] domains: \"%s\" is not one domain name", map->name,
				word);
	if (cursor == NULL)
		mistake(check, "[map %s] domains: a name is too long", map->name);
	if (strcmp(map->key, "domain") == 0 && strcmp(map->search, "full") == 0)
		mistake(check, "[map %s] search: full is for addresses, but key is domain",
			map->name);
	for (size_t i = 0; i < SETTINGS_MAP_TEXTS; i++) {
		char key[] = "text1";
		key[4] = (char)('1' + i);
		check_template(check, map, key, map->text[i], false);
	}
	check_template(check, map, "result", map->result, true);
	check_ttl(check, map, "positive_ttl", map->positive_ttl, settings->lookup.positive_ttl,
		  &map->positive_ttl_ms);
	check_ttl(check, map, "negative_ttl", map->negative_ttl, settings->lookup.negative_ttl,
		  &map->negative_ttl_ms);
}

enum result settings_load(const char *file, struct settings *settings_r, struct buf *mistakes,
			  struct error *err)
{
	enum result result = conf_load(&settings_table, file, settings_r, mistakes, err);
	if (result != RESULT_FOUND)
		return result;
	struct check check = {.file = file, .mistakes = mistakes, .err = err};
	check_database(&check, settings_r);
	read_password(&check, settings_r);
	check_address(&check, settings_r);
	check_mail(&check, settings_r);
	check_quota(&check, settings_r);
	for (size_t i = 0; i < settings_r->map_count; i++)
		check_map(&check, settings_r, &settings_r->maps[i]);
	if (!check.failed)
		return RESULT_FOUND;
	settings_free(settings_r);
	return RESULT_PERM;
}

void settings_free(struct settings *settings)
{
	conf_free(&settings_table, settings);
}
