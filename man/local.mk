# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# The library's pages; the commands' pages stand with their commands.

dist_man_MANS += \
	man/flagstore.3 \
	man/flagstore.5 \
	man/flagstore.7

# So that `man flagstore_set` finds its page: one link for each function that the page describes.
api_page = $(srcdir)/man/flagstore.3
api_functions = sed -n 's/^\.F[no] "\{0,1\}[^"]*\(flagstore_[a-z_]*\).*/\1/p' $(api_page) | sort -u

install-data-hook:
	$(api_functions) | while read -r function; do \
		$(LN_S) -f flagstore.3 "$(DESTDIR)$(man3dir)/$$function.3" || exit 1; \
	done

uninstall-hook:
	$(api_functions) | while read -r function; do rm -f "$(DESTDIR)$(man3dir)/$$function.3"; done
