sbin_PROGRAMS += %D%/policyd
noinst_LTLIBRARIES += %D%/libpolicyd.la

%C%_libpolicyd_la_SOURCES = \
	%D%/policy.c %D%/policy.h \
	%D%/messages.c %D%/messages.h \
	%D%/counters.c %D%/counters.h \
	%D%/limit.c %D%/limit.h \
	%D%/counters.c %D%/counters.h \
	%D%/messages.c %D%/messages.h \
	%D%/mailbox_quota.c %D%/mailbox_quota.h
%C%_libpolicyd_la_LIBADD = libpostern-daemon.la
%C%_libpolicyd_la_LDFLAGS =

%C%_policyd_SOURCES = %D%/main.c
%C%_policyd_LDADD = %D%/libpolicyd.la

dist_man8_MANS += %D%/policyd.8
