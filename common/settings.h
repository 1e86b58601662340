/*
 * The one configuration file of all programs, as a structure; settings.c holds the one table of
 * options that gives names, types, defaults, ranges and help. postern.ini(5) documents each, and a
 * test compares the two.
 */
#ifndef POSTERN_SETTINGS_H
#define POSTERN_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"

struct settings_limit { /* [limit NAME] */
	char *name;
	char *key;   /* sasl_user, sender, sender_domain, client_ip, recipient, global */
	char *count; /* recipients, messages */
	int64_t max;
	int64_t window; /* ms */
	char *verdict;  /* defer, reject, warn */
};

#define SETTINGS_MAP_TEXTS    5
#define SETTINGS_MAP_NAME_MAX 64

struct settings_map { /* [map NAME] */
	char *name;
	char *query;
	char *text[SETTINGS_MAP_TEXTS]; /* templates of :text1 ... */
	char *key;                      /* address, domain, any */
	char *domains;                  /* blank separated; "" = all */
	char *search;                   /* exact, full, transport */
	bool append_extension;
	char *result; /* template */
	int64_t limit;
	bool require_result;
	char *positive_ttl, *negative_ttl;        /* as written; "" = those of [lookup] */
	int64_t positive_ttl_ms, negative_ttl_ms; /* what they come to */
};

struct settings {
	struct {              /* [database] */
		char *driver; /* sqlite, mysql */
		char *path;
		char *hosts; /* blank separated: HOST, HOST:PORT, [IPV6]:PORT, /socket */
		char *name, *user, *password, *password_file;
		char *tls; /* off, prefer, require, verify */
		char *tls_ca;
		int64_t connect_timeout, query_timeout, retry_interval; /* ms */
	} database;
	struct { /* [schema] */
		char *preset;
		char *password_scheme; /* default scheme of values without prefix */
	} schema;
	struct { /* [address] */
		char *recipient_delimiter;
		char *default_domain;
		bool propagate_extension;
		char *inactive; /* reject, catchall */
		bool catchall_grants;
	} address;
	struct { /* [mail] */
		char *base;
		char *owner;        /* user or user:group */
		char *subdirectory; /* appended to the schema's mail path, e.g. "Maildir/" */
		char *identity; /* owner: all files are [mail] owner's; account: the schema's ids */
		int64_t minimum_uid; /* of an account's own */
	} mail;
	struct { /* [lookup] */
		char *listen;
		char *user;
		int64_t socket_mode;
		char *socket_group;
		int64_t workers;
		int64_t database_handles;
		int64_t max_connections;
		int64_t positive_ttl, negative_ttl, stale_ttl; /* ms; 0: off */
		int64_t cache_size;
		bool relay_subdomains;
		char *local_transports;
	} lookup;
	struct { /* [lmtp] */
		char *listen;
		int64_t socket_mode;
		char *socket_group;
		int64_t workers;
		int64_t max_connections;
		char *hostname; /* "" = gethostname() */
		int64_t max_size;
		int64_t max_recipients;
		int64_t timeout;
		bool expand_aliases;
		char *quota_full;                /* defer: 452 4.2.2, reject: 552 5.2.2 */
		char *tls_certificate, *tls_key; /* "": STARTTLS is not offered */
		char *tls;                       /* offer, require; TCP only */
		char *auth;                      /* required, off; TCP only */
		char *auth_users;                /* blank separated logins that may deliver */
		char *auth_mechanisms;
		bool received; /* add a Received line */
		int64_t max_hops;
		char *folders; /* no, existing, create */
		int64_t folder_max;
		char *folder_encoding; /* utf-7, utf-8 */
		char *subscribe;       /* no, dovecot, courier, both */
		int64_t guard;         /* ms; 0: off */
	} lmtp;
	struct {                                        /* [quota] */
		char *warn;                             /* blank separated percentages; "" = none */
		char *warn_sender;                      /* in From */
		char *warn_text;                        /* file; "" = our own text */
		char *trash;                            /* count, skip */
		bool publish;                           /* usage into the database */
		int64_t publish_interval, lock_timeout; /* ms */
	} quota;
	struct { /* [policy] */
		char *listen;
		char *user;
		int64_t socket_mode;
		char *socket_group;
		int64_t workers;
		int64_t max_connections;
		bool mailbox_quota;
		int64_t quota_grace;
	} policy;
	struct settings_limit *limits; /* [limit NAME] */
	size_t limit_count;
	struct settings_map *maps; /* [map NAME] */
	size_t map_count;
	struct {               /* [greylist] */
		char *enabled; /* "no", until greylisting exists */
	} greylist;
	struct {                 /* [auth] */
		char *saslauthd; /* endpoints of sasl-authd; "" = off */
		char *authdaemond;
		char *user;
		int64_t socket_mode;
		char *socket_group;
		int64_t workers;
		int64_t max_connections;
		int64_t max_rounds;
		int64_t max_memory;
	} auth;
	struct { /* [log] */
		char *level;
		char *target; /* stderr, syslog */
	} log;
	struct {              /* [metrics] */
		char *listen; /* "" = off */
	} metrics;
};

extern const struct conf_table settings_table;

#define SETTINGS_DEFAULT_FILE "/etc/postern/postern.ini"

/*
 * conf_load() with our table plus the checks that need more than one key (driver and its keys,
 * delimiters, a secret in a world-readable file, password_file read into database.password).
 */
enum result settings_load(const char *file, struct settings *settings_r, struct buf *mistakes,
			  struct error *err) MUST_CHECK;
void settings_free(struct settings *settings);

#endif
