sbin_PROGRAMS += %D%/lmtp-deliver
noinst_LTLIBRARIES += %D%/liblmtp.la

%C%_liblmtp_la_SOURCES = \
	%D%/session.c %D%/session.h \
	%D%/delivery.c %D%/delivery.h \
	%D%/message.c %D%/message.h \
	%D%/agent.c %D%/agent.h
%C%_liblmtp_la_LIBADD = libpostern-daemon.la
%C%_liblmtp_la_LDFLAGS =

%C%_lmtp_deliver_SOURCES = %D%/main.c
%C%_lmtp_deliver_LDADD = %D%/liblmtp.la

dist_man8_MANS += %D%/lmtp-deliver.8
