# Three convenience libraries: base is what needs no database, and so starts fast; core is safe inside
# a foreign process (the SASL plugin takes all of it into smtpd), with base in it; daemon is the rest.
# No file includes the header of a noun that stands below its own (the files of one noun, such as
# sql and sql_*, stand together).
noinst_LTLIBRARIES += libpostern-base.la libpostern-core.la libpostern-daemon.la

libpostern_base_la_SOURCES = \
	%D%/result.c %D%/result.h \
	%D%/buf.c %D%/buf.h \
	%D%/deadline.c %D%/deadline.h \
	%D%/proc_stat.c %D%/proc_stat.h \
	%D%/log.c %D%/log.h \
	%D%/io.c %D%/io.h \
	%D%/secret.c %D%/secret.h \
	%D%/address.c %D%/address.h \
	%D%/map_template.c %D%/map_template.h \
	%D%/conf.c %D%/conf.h \
	%D%/conf_file.c %D%/conf_file.h \
	%D%/conf_value.c \
	%D%/settings.c %D%/settings.h \
	%D%/smtp_line.c %D%/smtp_line.h \
	%D%/smtp_data.c
libpostern_base_la_LIBADD = $(INIPARSER_LIBS) $(UNISTRING_LIBS)
libpostern_base_la_LDFLAGS =

libpostern_core_la_SOURCES = \
	%D%/password.c %D%/password.h %D%/password_scheme.h \
	%D%/password_crypt.c \
	%D%/password_digest.c \
	%D%/password_scram.c \
	%D%/password_make.c \
	%D%/sql.c %D%/sql.h %D%/sql_driver.h %D%/sql_handle.h \
	%D%/sql_statement.c \
	%D%/sql_mysql.c \
	%D%/sql_mysql_fault.c %D%/sql_mysql_fault.h \
	%D%/sql_sqlite.c \
	%D%/sql_fake.c %D%/sql_fake.h \
	%D%/schema.c %D%/schema.h \
	%D%/account_columns.c %D%/account_columns.h \
	%D%/accounts.c %D%/accounts.h \
	%D%/accounts_routes.c \
	%D%/account_query.c %D%/account_query.h \
	%D%/mailbox_directory.c \
	%D%/members.c %D%/members.h \
	%D%/resolve_search.c %D%/resolve_search.h \
	%D%/resolve_transport.c %D%/resolve_transport.h \
	%D%/schema_detect.c %D%/schema_detect.h \
	%D%/resolve.c %D%/resolve.h \
	%D%/sender_logins.c \
	%D%/authenticate.c %D%/authenticate.h
libpostern_core_la_LIBADD = libpostern-base.la $(MYSQL_LIBS) $(SQLITE_LIBS) $(OPENSSL_LIBS) \
	$(CRYPT_LIBS) $(SODIUM_LIBS)
libpostern_core_la_LDFLAGS =

libpostern_daemon_la_SOURCES = \
	%D%/owner.c %D%/owner.h \
	%D%/accounts_change.c %D%/accounts_change.h \
	%D%/accounts_edit.c %D%/accounts_edit.h \
	%D%/accounts_create.c \
	%D%/account_usage.c %D%/account_usage.h \
	%D%/accounts_edit_alias.c \
	%D%/site_map.c %D%/site_map.h \
	%D%/maps.c %D%/maps.h \
	%D%/maps_routes.c %D%/maps_routes.h \
	%D%/netstring.c %D%/netstring.h \
	%D%/policy_attrs.c %D%/policy_attrs.h \
	%D%/endpoint.c %D%/endpoint.h \
	%D%/tls.c %D%/tls.h \
	%D%/cache.c %D%/cache.h \
	%D%/identity.c %D%/identity.h \
	%D%/folder.c %D%/folder.h \
	%D%/folder_directory.c %D%/folder_directory.h \
	%D%/folder_name.c %D%/folder_name.h \
	%D%/folder_subscribe.c %D%/folder_subscribe.h \
	%D%/maildir.c %D%/maildir.h \
	%D%/maildir_batch.c \
	%D%/maildir_open.c %D%/maildir_open.h \
	%D%/quota.c %D%/quota.h \
	%D%/quota_count.c %D%/quota_count.h \
	%D%/quota_lock.c %D%/quota_lock.h \
	%D%/quota_rules.c %D%/quota_rules.h \
	%D%/metrics.c %D%/metrics.h \
	%D%/notify.c %D%/notify.h \
	%D%/serve.c %D%/serve.h %D%/serve_engine.h \
	%D%/serve_accept.c %D%/serve_follow.c \
	%D%/daemon.c %D%/daemon.h \
	%D%/daemon_process.c
libpostern_daemon_la_LIBADD = libpostern-core.la $(MICROHTTPD_LIBS)
libpostern_daemon_la_LDFLAGS =

# What every program and test links, unless it says otherwise.
LDADD = libpostern-daemon.la

dist_man5_MANS += %D%/postern.ini.5
