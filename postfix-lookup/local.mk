sbin_PROGRAMS += %D%/postfix-lookup
noinst_LTLIBRARIES += %D%/liblookup.la

%C%_liblookup_la_SOURCES = \
	%D%/lookup.c %D%/lookup.h \
	%D%/inquiry.c %D%/inquiry.h \
	%D%/gate.c %D%/gate.h \
	%D%/host_metrics.c %D%/host_metrics.h \
	%D%/database.c %D%/database.h \
	%D%/stale.c %D%/stale.h \
	%D%/flush.c %D%/flush.h
%C%_liblookup_la_LIBADD = libpostern-daemon.la
%C%_liblookup_la_LDFLAGS =

%C%_postfix_lookup_SOURCES = %D%/main.c
%C%_postfix_lookup_LDADD = %D%/liblookup.la

dist_man8_MANS += %D%/postfix-lookup.8
